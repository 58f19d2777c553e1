// JsonFields: structs that have VisitFields (fields.h), as JSON.
//
//   bool, int64_t, std::string   as JSON's
//   double           the shortest decimal that reads back as the same bits;
//   what
//                    JSON has no number for: "nan", "inf", "-inf"
//   uint64_t         16 hexadecimal digits, as a string
//   enum             its name in EnumNames
//   absl::Duration   as absl::FormatDuration writes it; null: infinite
//   std::optional    null: none
//   std::vector      an array;  std::map: an array of [key, value], keys ascend
//   a struct         an object that has each field, and nothing else
//
// Invariant. what ToJson wrote, FromJson reads back equal.
// Errors.    INVALID_ARGUMENT: the first field that is not as above, by its
//            path: `groups[1].cycle.mass1: want a number`. `*value` is then of
//            no use.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_JSON_FIELDS_H_
#define ACCRUE_SERVER_DURABILITY_JSON_FIELDS_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/durability/enum_names.h"
#include "server/durability/json_text.h"

namespace accrue {

inline Json ToJson(bool value) { return value; }
inline Json ToJson(int32_t value) { return value; }
inline Json ToJson(int64_t value) { return value; }
inline Json ToJson(const std::string& value) { return value; }
Json ToJson(double value);
Json ToJson(uint64_t value);
Json ToJson(absl::Duration value);

template <typename T>
requires std::is_enum_v<T> Json ToJson(T value) {
  return std::string(EnumNames<T>.at(static_cast<size_t>(value)));
}

template <typename T>
requires std::is_class_v<T> Json ToJson(const T& value);

template <typename T>
Json ToJson(const std::optional<T>& value) {
  return value.has_value() ? ToJson(*value) : Json();
}

template <typename T>
Json ToJson(const std::vector<T>& values) {
  Json array = Json::array();
  for (const T& value : values) array.push_back(ToJson(value));
  return array;
}

template <typename K, typename T>
Json ToJson(const std::map<K, T>& values) {
  Json array = Json::array();
  for (const auto& [key, value] : values) {
    Json pair = Json::array();
    pair.push_back(ToJson(key));
    pair.push_back(ToJson(value));
    array.push_back(std::move(pair));
  }
  return array;
}

class JsonFieldWriter {
 public:
  template <typename T>
  void operator()(const char* name, const T& field) {
    object_[name] = ToJson(field);
  }
  Json Take() { return std::move(object_); }

 private:
  Json object_ = Json::object();
};

template <typename T>
requires std::is_class_v<T> Json ToJson(const T& value) {
  JsonFieldWriter writer;
  VisitFields(writer, value);
  return writer.Take();
}

// Where a reader is, and what it has met.
class JsonPlace {
 public:
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  void Fail(absl::string_view what);  // the first one stays

  // Reads with `read`, one step further down.
  template <typename Read>
  void Field(absl::string_view name, Read read) {
    Down(name, true, read);
  }
  template <typename Read>
  void Element(size_t index, Read read) {
    Down(std::to_string(index), false, read);
  }

 private:
  template <typename Read>
  void Down(absl::string_view name, bool is_field, Read read) {
    const size_t size = path_.size();
    Append(name, is_field);
    read();
    path_.resize(size);
  }
  void Append(absl::string_view name, bool is_field);

  std::string path_;
  absl::Status status_;
};

void GetJson(const Json& json, JsonPlace& place, bool* value);
void GetJson(const Json& json, JsonPlace& place, int32_t* value);
void GetJson(const Json& json, JsonPlace& place, int64_t* value);
void GetJson(const Json& json, JsonPlace& place, uint64_t* value);
void GetJson(const Json& json, JsonPlace& place, double* value);
void GetJson(const Json& json, JsonPlace& place, std::string* value);
void GetJson(const Json& json, JsonPlace& place, absl::Duration* value);
// Index of the text among `names`.
void GetJsonName(const Json& json, JsonPlace& place,
                 const std::string_view* names, size_t count, size_t* index);

template <typename T>
requires std::is_enum_v<T>
void GetJson(const Json& json, JsonPlace& place, T* value) {
  size_t index = 0;
  GetJsonName(json, place, EnumNames<T>.data(), EnumNames<T>.size(), &index);
  *value = static_cast<T>(index);
}

template <typename T>
requires std::is_class_v<T>
void GetJson(const Json& json, JsonPlace& place, T* value);

template <typename T>
void GetJson(const Json& json, JsonPlace& place, std::optional<T>* value) {
  value->reset();
  if (!json.is_null()) GetJson(json, place, &value->emplace());
}

template <typename T>
void GetJson(const Json& json, JsonPlace& place, std::vector<T>* values) {
  values->clear();
  if (!json.is_array()) return place.Fail("want an array");
  for (size_t i = 0; i < json.size() && place.ok(); ++i) {
    place.Element(i, [&] { GetJson(json[i], place, &values->emplace_back()); });
  }
}

template <typename K, typename T>
void GetJson(const Json& json, JsonPlace& place, std::map<K, T>* values) {
  values->clear();
  if (!json.is_array()) return place.Fail("want an array");
  for (size_t i = 0; i < json.size() && place.ok(); ++i) {
    place.Element(i, [&] {
      const Json& pair = json[i];
      if (!pair.is_array() || pair.size() != 2) {
        return place.Fail("want [key, value]");
      }
      K key{};
      T value{};
      GetJson(pair[0], place, &key);
      GetJson(pair[1], place, &value);
      if (!values->empty() && !(values->rbegin()->first < key)) {
        return place.Fail("want keys that ascend");
      }
      values->emplace_hint(values->end(), std::move(key), std::move(value));
    });
  }
}

class JsonFieldReader {
 public:
  JsonFieldReader(const Json& object, JsonPlace& place)
      : object_(object), place_(place) {}

  template <typename T>
  void operator()(const char* name, T& field) {
    names_.push_back(name);
    if (!place_.ok()) return;
    place_.Field(name, [&] {
      const auto found = object_.find(name);
      if (found == object_.end()) return place_.Fail("is missing");
      GetJson(*found, place_, &field);
    });
  }
  // Fails where the object has what was not asked for.
  void Finish();

 private:
  const Json& object_;
  JsonPlace& place_;
  std::vector<const char*> names_;
};

template <typename T>
requires std::is_class_v<T>
void GetJson(const Json& json, JsonPlace& place, T* value) {
  if (!json.is_object()) return place.Fail("want an object");
  JsonFieldReader reader(json, place);
  VisitFields(reader, *value);
  reader.Finish();
}

template <typename T>
absl::Status FromJson(const Json& json, T* value) {
  JsonPlace place;
  GetJson(json, place, value);
  return place.status();
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_JSON_FIELDS_H_
