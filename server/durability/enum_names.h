// EnumNames: what the values of an enum are called in files, by number. They
// never change: files live longer than programs.
#ifndef ACCRUE_SERVER_DURABILITY_ENUM_NAMES_H_
#define ACCRUE_SERVER_DURABILITY_ENUM_NAMES_H_

#include <array>
#include <string_view>

#include "server/kernels/encoding.h"
#include "server/model/spec.h"
#include "server/model/training_state.h"
#include "server/rule/rule_spec.h"

namespace accrue {

template <typename Enum>
inline constexpr std::array<std::string_view, 0> EnumNames{};

template <>
inline constexpr auto EnumNames<rule::Optimizer> =
    std::to_array<std::string_view>({"sgd", "adam", "adamw", "signum", "lion",
                                     "lamb"});
template <>
inline constexpr auto EnumNames<rule::Decay> = std::to_array<std::string_view>(
    {"per_cycle", "per_push", "sliding", "sliding_exact"});
template <>
inline constexpr auto EnumNames<rule::Buffering> =
    std::to_array<std::string_view>({"embedded", "classic", "gather"});
template <>
inline constexpr auto EnumNames<rule::SecondMoment> =
    std::to_array<std::string_view>({"article", "adama", "corrected"});
template <>
inline constexpr auto EnumNames<rule::EpsilonPlace> =
    std::to_array<std::string_view>({"outside", "inside"});
template <>
inline constexpr auto EnumNames<rule::LrScaling> =
    std::to_array<std::string_view>({"conservative", "sqrt", "linear"});
template <>
inline constexpr auto EnumNames<rule::ClipScope> =
    std::to_array<std::string_view>({"group", "model"});
template <>
inline constexpr auto EnumNames<rule::Schedule::Kind> =
    std::to_array<std::string_view>({"constant", "linear", "cosine", "step",
                                     "exponential", "inverse_square_root"});
template <>
inline constexpr auto EnumNames<StalePolicy> =
    std::to_array<std::string_view>({"reject", "accept", "dampen"});
template <>
inline constexpr auto EnumNames<Durability> =
    std::to_array<std::string_view>({"memory", "journal"});
template <>
inline constexpr auto EnumNames<kernels::Encoding> =
    std::to_array<std::string_view>({"f32", "bf16", "f16", "int8", "top_k"});
template <>
inline constexpr auto EnumNames<StateArray> = std::to_array<std::string_view>(
    {"parameters", "momentum", "variance", "accumulation", "look_ahead"});

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_ENUM_NAMES_H_
