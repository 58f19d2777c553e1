// ImportSource: a model's first parameters, from a safetensors file that
// somebody else has written.
//
// Errors.    NOT_FOUND: no such file. INVALID_ARGUMENT: not a sound one;
//            kWrongShape: a tensor of the spec that it does not have, or of
//            another shape or type than F32, BF16 or F16, or one that the spec
//            does not have; kNonFinite: a value. Else the disk's.
// Threading. safe. Functions block for as long as the disk does.
#ifndef ACCRUE_SERVER_DURABILITY_IMPORT_SOURCE_H_
#define ACCRUE_SERVER_DURABILITY_IMPORT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/durability/file.h"
#include "server/durability/safetensors.h"
#include "server/kernels/encoding.h"
#include "server/model/spec.h"
#include "server/model/training_state.h"

namespace accrue {

class ImportSource : public StateSource {
 public:
  // `path`: as a client names it, beneath `directory`.
  static absl::StatusOr<std::unique_ptr<ImportSource>> Open(
      FileSystem& files, const std::string& directory, const std::string& path,
      const ModelSpec& spec);

  // Empty.
  const TrainingState& state() const override { return state_; }
  bool Has(StateArray array) const override {
    return array == StateArray::kParameters;
  }
  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override;
  absl::StatusOr<ByteChain> ReadHeld(int64_t index) const override;

 private:
  struct Tensor {
    std::string name;
    kernels::Encoding encoding = kernels::Encoding::kF32;
    int64_t begin = 0;  // in the flat vector
    int64_t elems = 0;
    int64_t offset = 0;  // in the file, bytes
  };

  absl::Status Match(const SafetensorsIndex& index, const ModelSpec& spec);
  absl::Status ReadRun(const Tensor& tensor, int64_t begin,
                       absl::Span<float> out) const;

  const TrainingState state_ = {};
  std::unique_ptr<ReadableFile> file_;
  std::vector<Tensor> tensors_;  // the spec's order
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_IMPORT_SOURCE_H_
