#include "accrue/spec.h"

#include <map>
#include <string>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/generated_enum_reflection.h>

#include "absl/strings/ascii.h"
#include "accrue/description.h"
#include "accrue/v1/model.pb.h"

namespace accrue::client {
namespace {

// Names of a wire enum by number: "DECAY_PER_CYCLE" is "per_cycle". Built once
// and never destroyed.
template <typename ProtoEnum>
const std::map<int, std::string>& Names() {
  static const auto& names = *[] {
    const google::protobuf::EnumDescriptor& descriptor =
        *google::protobuf::GetEnumDescriptor<ProtoEnum>();
    // Every enum's zero is <PREFIX>UNSPECIFIED.
    const size_t prefix = descriptor.FindValueByNumber(0)->name().size() -
                          std::string("UNSPECIFIED").size();
    auto* result = new std::map<int, std::string>();
    for (int i = 0; i < descriptor.value_count(); ++i) {
      const auto& value = *descriptor.value(i);
      if (value.number() == 0) continue;
      result->emplace(value.number(),
                      absl::AsciiStrToLower(value.name().substr(prefix)));
    }
    return result;
  }();
  return names;
}

template <typename ProtoEnum>
absl::string_view NameOf(int number) {
  const auto& names = Names<ProtoEnum>();
  const auto found = names.find(number);
  return found == names.end() ? "unknown" : absl::string_view(found->second);
}

template <typename ProtoEnum, typename Enum>
std::optional<Enum> Parse(absl::string_view name) {
  for (const auto& [number, known] : Names<ProtoEnum>()) {
    if (known == name) return static_cast<Enum>(number);
  }
  return std::nullopt;
}

}  // namespace

int64_t ElementCount(const TensorSpec& tensor) {
  // Unsigned, so that shapes that cannot be overflow without harm.
  uint64_t count = 1;
  for (const int64_t extent : tensor.shape) {
    count *= static_cast<uint64_t>(extent);
  }
  return static_cast<int64_t>(count);
}

int64_t ElementCount(const ModelSpec& spec) {
  uint64_t count = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    count += static_cast<uint64_t>(ElementCount(tensor));
  }
  return static_cast<int64_t>(count);
}

#define ACCRUE_NAMED_ENUM(Enum)                              \
  absl::string_view Name(Enum value) {                       \
    return NameOf<v1::Enum>(static_cast<int>(value));        \
  }                                                          \
  template <>                                                \
  std::optional<Enum> ParseName<Enum>(absl::string_view n) { \
    return Parse<v1::Enum, Enum>(n);                         \
  }
ACCRUE_NAMED_ENUM(Optimizer)
ACCRUE_NAMED_ENUM(Decay)
ACCRUE_NAMED_ENUM(Buffering)
ACCRUE_NAMED_ENUM(SecondMoment)
ACCRUE_NAMED_ENUM(EpsilonPlace)
ACCRUE_NAMED_ENUM(LearningRateScaling)
ACCRUE_NAMED_ENUM(ClipScope)
ACCRUE_NAMED_ENUM(StalePolicy)
ACCRUE_NAMED_ENUM(Durability)
ACCRUE_NAMED_ENUM(Encoding)
ACCRUE_NAMED_ENUM(Schedule::Kind)
#undef ACCRUE_NAMED_ENUM

absl::string_view Name(ModelDescription::State state) {
  return NameOf<v1::Model::State>(static_cast<int>(state));
}

// The enumerators have the wire's numbers.
#define ACCRUE_SAME(ours, theirs) \
  static_assert(static_cast<int>(ours) == static_cast<int>(v1::theirs))
ACCRUE_SAME(Optimizer::kSgd, OPTIMIZER_SGD);
ACCRUE_SAME(Optimizer::kAdam, OPTIMIZER_ADAM);
ACCRUE_SAME(Optimizer::kAdamW, OPTIMIZER_ADAMW);
ACCRUE_SAME(Optimizer::kSignum, OPTIMIZER_SIGNUM);
ACCRUE_SAME(Optimizer::kLion, OPTIMIZER_LION);
ACCRUE_SAME(Optimizer::kLamb, OPTIMIZER_LAMB);
ACCRUE_SAME(Decay::kPerCycle, DECAY_PER_CYCLE);
ACCRUE_SAME(Decay::kPerPush, DECAY_PER_PUSH);
ACCRUE_SAME(Decay::kSliding, DECAY_SLIDING);
ACCRUE_SAME(Decay::kSlidingExact, DECAY_SLIDING_EXACT);
ACCRUE_SAME(Buffering::kEmbedded, BUFFERING_EMBEDDED);
ACCRUE_SAME(Buffering::kClassic, BUFFERING_CLASSIC);
ACCRUE_SAME(Buffering::kGather, BUFFERING_GATHER);
ACCRUE_SAME(SecondMoment::kArticle, SECOND_MOMENT_ARTICLE);
ACCRUE_SAME(SecondMoment::kAdamA, SECOND_MOMENT_ADAMA);
ACCRUE_SAME(SecondMoment::kCorrected, SECOND_MOMENT_CORRECTED);
ACCRUE_SAME(EpsilonPlace::kOutside, EPSILON_PLACE_OUTSIDE);
ACCRUE_SAME(EpsilonPlace::kInside, EPSILON_PLACE_INSIDE);
ACCRUE_SAME(LearningRateScaling::kConservative,
            LEARNING_RATE_SCALING_CONSERVATIVE);
ACCRUE_SAME(LearningRateScaling::kSqrt, LEARNING_RATE_SCALING_SQRT);
ACCRUE_SAME(LearningRateScaling::kLinear, LEARNING_RATE_SCALING_LINEAR);
ACCRUE_SAME(ClipScope::kGroup, CLIP_SCOPE_GROUP);
ACCRUE_SAME(ClipScope::kModel, CLIP_SCOPE_MODEL);
ACCRUE_SAME(StalePolicy::kReject, STALE_POLICY_REJECT);
ACCRUE_SAME(StalePolicy::kAccept, STALE_POLICY_ACCEPT);
ACCRUE_SAME(StalePolicy::kDampen, STALE_POLICY_DAMPEN);
ACCRUE_SAME(Durability::kMemory, DURABILITY_MEMORY);
ACCRUE_SAME(Durability::kJournal, DURABILITY_JOURNAL);
ACCRUE_SAME(Encoding::kF32, ENCODING_F32);
ACCRUE_SAME(Encoding::kBf16, ENCODING_BF16);
ACCRUE_SAME(Encoding::kF16, ENCODING_F16);
ACCRUE_SAME(Encoding::kInt8, ENCODING_INT8);
ACCRUE_SAME(Encoding::kTopK, ENCODING_TOPK);
ACCRUE_SAME(Schedule::Kind::kConstant, Schedule::KIND_CONSTANT);
ACCRUE_SAME(Schedule::Kind::kLinear, Schedule::KIND_LINEAR);
ACCRUE_SAME(Schedule::Kind::kCosine, Schedule::KIND_COSINE);
ACCRUE_SAME(Schedule::Kind::kStep, Schedule::KIND_STEP);
ACCRUE_SAME(Schedule::Kind::kExponential, Schedule::KIND_EXPONENTIAL);
ACCRUE_SAME(Schedule::Kind::kInverseSquareRoot,
            Schedule::KIND_INVERSE_SQUARE_ROOT);
#undef ACCRUE_SAME

}  // namespace accrue::client
