#include "tests/fuzz/json_mutation.h"

#include <iterator>
#include <random>

#include "nlohmann/json.hpp"

namespace accrue::fuzz {
namespace {

using Json = nlohmann::json;

const Json& AnyJson(std::minstd_rand& random) {
  static const auto& values = *new Json{0,
                                        1,
                                        2,
                                        3,
                                        8,
                                        1048576,
                                        1048577,
                                        -1,
                                        INT32_MAX,
                                        INT64_MAX,
                                        INT64_MIN,
                                        UINT64_MAX,
                                        0.5,
                                        -0.0,
                                        1e-45,
                                        1e38,
                                        1e308,
                                        "nan",
                                        "inf",
                                        "-inf",
                                        "",
                                        "a",
                                        "ffffffffffffffff",
                                        "00000000000000000000000000000000",
                                        "inf s",
                                        "1ns",
                                        nullptr,
                                        true,
                                        false,
                                        Json::array(),
                                        Json::object()};
  return values[random() % values.size()];
}

// Mostly a neighbour, where it is a number.
void Mutate(Json& value, std::minstd_rand& random) {
  const auto step = static_cast<int64_t>(random() % 3) - 1;
  if (value.is_number_integer() && step != 0) {
    value = static_cast<int64_t>(value.get<uint64_t>() +
                                 static_cast<uint64_t>(step));
  } else if (value.is_number_float() && step != 0) {
    value = value.get<double>() * (step < 0 ? -1 : 1e10);
  } else {
    value = AnyJson(random);
  }
}

// One member more or less, where there are any.
void Resize(Json& whole, std::minstd_rand& random) {
  if (whole.empty()) return;
  if (whole.is_array() && random() % 2 == 0) {
    whole.push_back(whole.front());
  } else {
    whole.erase(std::next(whole.begin(), random() % whole.size()));
  }
}

}  // namespace

std::string MutateJson(const std::string& text, uint32_t seed) {
  std::minstd_rand random(seed);
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty()) return "";
  Json leaves = json.flatten();
  auto leaf = leaves.begin();
  std::advance(leaf, random() % leaves.size());
  const Json::json_pointer place(leaf.key());
  if (random() % 4 == 0) {
    Resize(json[place.parent_pointer()], random);
  } else {
    Mutate(json[place], random);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace accrue::fuzz
