// YAML (and so JSON, which is a part of it) into structs, strictly: every key
// is known, none comes twice, every value has its type, and every complaint
// names its line.
//
//   absl::Status ReadPoint(const YAML::Node& node, Point* point) {
//     return ReadFields(node, "a point", {{"x", Into(&point->x)},
//                                         {"y", Into(&point->y)}});
//   }
//
// Errors.    UsageError: "line 3: unknown key "z" in a point; it has x, y"

#ifndef ACCRUE_CLIENT_CTL_YAML_FIELDS_H_
#define ACCRUE_CLIENT_CTL_YAML_FIELDS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/status_macros.h"
#include "yaml-cpp/yaml.h"

namespace accrue::ctl {

// A document of one node. Nothing in it is an error of syntax; an empty
// document is refused.
absl::StatusOr<YAML::Node> ParseYaml(const std::string& text);

// UsageError: "line 12: <message>".
absl::Status ErrorAt(const YAML::Node& node, absl::string_view message);

absl::Status Read(const YAML::Node& node, std::string* value);
absl::Status Read(const YAML::Node& node, int64_t* value);
absl::Status Read(const YAML::Node& node, double* value);
absl::Status Read(const YAML::Node& node, bool* value);
// "1.5s", "200ms", "2m".
absl::Status Read(const YAML::Node& node, absl::Duration* value);

absl::Status Read(const YAML::Node& node, std::vector<int64_t>* values);

template <typename T>
absl::Status Read(const YAML::Node& node, std::optional<T>* value) {
  return Read(node, &value->emplace());
}

using FieldReader = std::function<absl::Status(const YAML::Node&)>;

// Reads a scalar, or a list of integers, into *value, which must outlive it.
template <typename T>
FieldReader Into(T* value) {
  return [value](const YAML::Node& node) { return Read(node, value); };
}

// The same for a type with a reader of its own.
template <typename T>
using Reader = absl::Status (*)(const YAML::Node&, T*);

template <typename T>
FieldReader Into(T* value, Reader<T> read) {
  return [=](const YAML::Node& node) { return read(node, value); };
}

template <typename T>
FieldReader Into(std::optional<T>* value, Reader<T> read) {
  return [=](const YAML::Node& node) { return read(node, &value->emplace()); };
}

template <typename T>
FieldReader IntoList(std::vector<T>* values, Reader<T> read) {
  return [=](const YAML::Node& node) {
    if (!node.IsSequence()) return ErrorAt(node, "expected a list");
    for (const YAML::Node& element : node) {
      ACCRUE_RETURN_IF_ERROR(read(element, &values->emplace_back()));
    }
    return absl::OkStatus();
  };
}

// A key and what reads its value.
struct Field {
  std::string key;
  FieldReader read;
};

// Reads a mapping. `what` names it in complaints: "a group".
absl::Status ReadFields(const YAML::Node& node, absl::string_view what,
                        const std::vector<Field>& fields);

// The key's node, or nothing.
std::optional<YAML::Node> FindKey(const YAML::Node& mapping,
                                  absl::string_view key);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_YAML_FIELDS_H_
