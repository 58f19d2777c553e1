#include "server/durability/import_source.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/durability/import_path.h"
#include "server/kernels/convert.h"

namespace accrue {
namespace {

// Of a tensor that is decoded, at a time.
constexpr int64_t kStepElems = int64_t{1} << 18;
// Names in a message.
constexpr size_t kMostNames = 5;

absl::Status Wrong(absl::string_view what) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kWrongShape,
                   absl::StrCat("import: ", what));
}

absl::Status WrongNames(absl::string_view what,
                        const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kMostNames);
  std::string list =
      absl::StrJoin(names.begin(), names.begin() + shown, "\", \"");
  return Wrong(absl::StrCat(names.size(), " tensors ", what, ": \"", list, "\"",
                            shown < names.size() ? ", ..." : ""));
}

std::optional<kernels::Encoding> EncodingOf(const std::string& dtype) {
  if (dtype == "F32") return kernels::Encoding::kF32;
  if (dtype == "BF16") return kernels::Encoding::kBf16;
  if (dtype == "F16") return kernels::Encoding::kF16;
  return std::nullopt;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImportSource>> ImportSource::Open(
    FileSystem& files, const std::string& directory, const std::string& path,
    const ModelSpec& spec) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string resolved,
                          ResolveBeneath(directory, path));
  auto source = std::make_unique<ImportSource>();
  ACCRUE_ASSIGN_OR_RETURN(source->file_, files.Open(resolved));
  const absl::StatusOr<SafetensorsIndex> index =
      ReadSafetensors(*source->file_);
  if (absl::IsInvalidArgument(index.status())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "import: file \"", path, "\": ", index.status().message()));
  }
  ACCRUE_RETURN_IF_ERROR(index.status());
  ACCRUE_RETURN_IF_ERROR(source->Match(*index, spec));
  return source;
}

absl::Status ImportSource::Match(const SafetensorsIndex& index,
                                 const ModelSpec& spec) {
  std::vector<std::string> missing;
  auto extra = index.tensors;
  int64_t begin = 0;
  for (const TensorSpec& wanted : spec.tensors) {
    const auto found = extra.find(wanted.name);
    if (found == extra.end()) {
      missing.push_back(wanted.name);
      continue;
    }
    const StoredTensor& stored = found->second;
    const auto encoding = EncodingOf(stored.dtype);
    if (stored.shape != wanted.shape || !encoding.has_value()) {
      return Wrong(absl::StrCat("tensor \"", wanted.name, "\" is ",
                                stored.dtype, " ", ShapeText(stored.shape),
                                ", want F32, BF16 or F16 ",
                                ShapeText(wanted.shape)));
    }
    tensors_.push_back(
        {wanted.name, *encoding, begin, stored.elems, stored.offset});
    begin += stored.elems;
    extra.erase(found);
  }
  if (!missing.empty()) return WrongNames("are missing", missing);
  std::vector<std::string> surplus;
  surplus.reserve(extra.size());
  for (const auto& [name, stored] : extra) surplus.push_back(name);
  if (!surplus.empty()) return WrongNames("are not the model's", surplus);
  return absl::OkStatus();
}

absl::Status ImportSource::Read(StateArray array, int64_t piece,
                                absl::Span<float> out) const {
  if (!Has(array)) {
    std::fill(out.begin(), out.end(), 0.0F);
    return absl::OkStatus();
  }
  int64_t begin = piece * kStatePieceElems;
  auto tensor = std::upper_bound(
      tensors_.begin(), tensors_.end(), begin,
      [](int64_t elem, const Tensor& t) { return elem < t.begin; });
  if (piece < 0 || tensor == tensors_.begin()) {
    return absl::InternalError(absl::StrCat("no piece ", piece));
  }
  --tensor;  // the last one that does not begin behind
  while (!out.empty() && tensor != tensors_.end()) {
    const int64_t skipped = begin - tensor->begin;
    const int64_t count =
        std::min({tensor->elems - skipped, static_cast<int64_t>(out.size()),
                  kStepElems});
    ACCRUE_RETURN_IF_ERROR(
        ReadRun(*tensor, skipped, out.first(static_cast<size_t>(count))));
    out.remove_prefix(static_cast<size_t>(count));
    begin += count;
    if (skipped + count == tensor->elems) ++tensor;
  }
  return absl::OkStatus();
}

absl::Status ImportSource::ReadRun(const Tensor& tensor, int64_t begin,
                                   absl::Span<float> out) const {
  const int64_t bytes = kernels::EncodedBytes(tensor.encoding);
  std::vector<std::byte> encoded(out.size() * static_cast<size_t>(bytes));
  ACCRUE_RETURN_IF_ERROR(
      file_->Read(tensor.offset + begin * bytes, absl::MakeSpan(encoded)));
  kernels::Decode(encoded.data(), static_cast<int64_t>(out.size()),
                  tensor.encoding, out.data());
  const auto wrong = std::find_if_not(
      out.begin(), out.end(), [](float value) { return std::isfinite(value); });
  if (wrong == out.end()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kNonFinite,
      absl::StrCat("import: tensor \"", tensor.name, "\": value ",
                   begin + (wrong - out.begin()), " is not finite"));
}

absl::StatusOr<ByteChain> ImportSource::ReadHeld(int64_t index) const {
  return absl::InternalError(absl::StrCat("no held push ", index));
}

}  // namespace accrue
