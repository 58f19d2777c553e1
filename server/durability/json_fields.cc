#include "server/durability/json_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

constexpr char kNan[] = "nan";
constexpr char kInfinite[] = "inf";
constexpr char kMinusInfinite[] = "-inf";
constexpr size_t kHashDigits = 16;

// The text; empty if it is none.
absl::string_view TextOf(const Json& json) {
  return json.is_string() ? json.get_ref<const std::string&>()
                          : absl::string_view();
}

bool IsLowerHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

}  // namespace

Json ToJson(double value) {
  if (std::isnan(value)) return kNan;
  if (std::isinf(value)) return value > 0 ? kInfinite : kMinusInfinite;
  return value;
}

Json ToJson(uint64_t value) {
  return absl::StrCat(absl::Hex(value, absl::kZeroPad16));
}

Json ToJson(absl::Duration value) {
  if (value == absl::InfiniteDuration()) return Json();
  return absl::FormatDuration(value);
}

void JsonPlace::Fail(absl::string_view what) {
  if (!ok()) return;
  status_ = absl::InvalidArgumentError(path_.empty()
                                           ? absl::StrCat("the whole: ", what)
                                           : absl::StrCat(path_, ": ", what));
}

void JsonPlace::Append(absl::string_view name, bool is_field) {
  if (is_field) {
    absl::StrAppend(&path_, path_.empty() ? "" : ".", name);
  } else {
    absl::StrAppend(&path_, "[", name, "]");
  }
}

void GetJson(const Json& json, JsonPlace& place, bool* value) {
  if (!json.is_boolean()) return place.Fail("want true or false");
  *value = json.get<bool>();
}

void GetJson(const Json& json, JsonPlace& place, int32_t* value) {
  int64_t wide = 0;
  GetJson(json, place, &wide);
  *value = static_cast<int32_t>(wide);
  if (*value != wide) place.Fail("want a whole number of 32 bits");
}

void GetJson(const Json& json, JsonPlace& place, int64_t* value) {
  constexpr auto kLargest =
      static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits = json.is_number_unsigned() ? json.get<uint64_t>() <= kLargest
                                              : json.is_number_integer();
  if (!fits) return place.Fail("want a whole number of 64 bits");
  *value = json.get<int64_t>();
}

void GetJson(const Json& json, JsonPlace& place, uint64_t* value) {
  const absl::string_view text = TextOf(json);
  if (text.size() != kHashDigits ||
      !std::all_of(text.begin(), text.end(), IsLowerHex) ||
      !absl::SimpleHexAtoi(text, value)) {
    place.Fail("want 16 hexadecimal digits");
  }
}

void GetJson(const Json& json, JsonPlace& place, double* value) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const absl::string_view text = TextOf(json);
  if (json.is_number()) {
    *value = json.get<double>();
  } else if (text == kNan) {
    *value = std::numeric_limits<double>::quiet_NaN();
  } else if (text == kInfinite || text == kMinusInfinite) {
    *value = text == kInfinite ? kInfinity : -kInfinity;
  } else {
    place.Fail("want a number");
  }
}

void GetJson(const Json& json, JsonPlace& place, std::string* value) {
  if (!json.is_string()) return place.Fail("want a text");
  *value = json.get_ref<const std::string&>();
}

void GetJson(const Json& json, JsonPlace& place, absl::Duration* value) {
  *value = absl::InfiniteDuration();
  if (json.is_null()) return;
  // One duration has one text.
  if (!absl::ParseDuration(TextOf(json), value) || ToJson(*value) != json) {
    place.Fail("want a duration, as 1m30s, or null");
  }
}

void GetJsonName(const Json& json, JsonPlace& place,
                 const std::string_view* names, size_t count, size_t* index) {
  const absl::string_view text = TextOf(json);
  const std::string_view wanted(text.data(), text.size());
  const auto* found = std::find(names, names + count, wanted);
  if (found != names + count) {
    *index = found - names;
    return;
  }
  std::string known;
  for (size_t i = 0; i < count; ++i) {
    absl::StrAppend(&known, i == 0 ? "" : ", ",
                    absl::string_view(names[i].data(), names[i].size()));
  }
  place.Fail(absl::StrCat("want one of ", known));
}

void JsonFieldReader::Finish() {
  if (!place_.ok() || object_.size() == names_.size()) return;
  for (const auto& [name, value] : object_.items()) {
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) {
      return place_.Field(name, [&] { place_.Fail("is not known"); });
    }
  }
}

}  // namespace accrue
