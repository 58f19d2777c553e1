#include "client/ctl/yaml_fields.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "client/ctl/failure.h"

namespace accrue::ctl {
namespace {

// Insertions, deletions and replacements from one to the other.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// What the key was probably meant to be, else all that it could be.
std::string Suggestion(absl::string_view key,
                       const std::vector<Field>& fields) {
  if (fields.empty()) return "it has none";
  const auto distance = [key](const Field& field) {
    return EditDistance(key, field.key);
  };
  const auto nearest = std::min_element(fields.begin(), fields.end(),
                                        [&](const Field& a, const Field& b) {
                                          return distance(a) < distance(b);
                                        });
  if (distance(*nearest) <= 1 + key.size() / 5) {
    return absl::StrCat("did you mean \"", nearest->key, "\"?");
  }
  return absl::StrCat(
      "it has ",
      absl::StrJoin(fields, ", ", [](std::string* out, const Field& field) {
        out->append(field.key);
      }));
}

// A scalar as it was written; an empty value is no scalar.
absl::StatusOr<std::string> Scalar(const YAML::Node& node,
                                   absl::string_view expected) {
  if (!node.IsScalar()) {
    return ErrorAt(node, absl::StrCat("expected ", expected));
  }
  return node.Scalar();
}

absl::Status WrongScalar(const YAML::Node& node, absl::string_view expected) {
  return ErrorAt(node, absl::StrCat("expected ", expected, ", got \"",
                                    node.Scalar(), "\""));
}

}  // namespace

absl::StatusOr<YAML::Node> ParseYaml(const std::string& text) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.empty() || documents[0].IsNull()) {
      return UsageError("line 1: there is nothing in it");
    }
    if (documents.size() > 1) {
      return ErrorAt(documents[1], "a second document; expected one");
    }
    return documents[0];
  } catch (const YAML::Exception& exception) {
    return UsageError(absl::StrCat("line ", exception.mark.line + 1,
                                   ": not YAML or JSON: ", exception.msg));
  }
}

absl::Status ErrorAt(const YAML::Node& node, absl::string_view message) {
  return UsageError(absl::StrCat("line ", node.Mark().line + 1, ": ", message));
}

absl::Status Read(const YAML::Node& node, std::string* value) {
  ACCRUE_ASSIGN_OR_RETURN(*value, Scalar(node, "a text"));
  return absl::OkStatus();
}

absl::Status Read(const YAML::Node& node, int64_t* value) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, Scalar(node, "an integer"));
  if (!absl::SimpleAtoi(text, value)) return WrongScalar(node, "an integer");
  return absl::OkStatus();
}

absl::Status Read(const YAML::Node& node, double* value) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, Scalar(node, "a number"));
  if (!absl::SimpleAtod(text, value) || !std::isfinite(*value)) {
    return WrongScalar(node, "a number");
  }
  return absl::OkStatus();
}

absl::Status Read(const YAML::Node& node, bool* value) {
  ACCRUE_ASSIGN_OR_RETURN(const std::string text,
                          Scalar(node, "true or false"));
  if (text != "true" && text != "false") {
    return WrongScalar(node, "true or false");
  }
  *value = text == "true";
  return absl::OkStatus();
}

absl::Status Read(const YAML::Node& node, absl::Duration* value) {
  constexpr char kExpected[] = "a duration such as 1.5s, 200ms or 2m";
  ACCRUE_ASSIGN_OR_RETURN(const std::string text, Scalar(node, kExpected));
  if (!absl::ParseDuration(text, value)) return WrongScalar(node, kExpected);
  return absl::OkStatus();
}

absl::Status Read(const YAML::Node& node, std::vector<int64_t>* values) {
  if (!node.IsSequence()) return ErrorAt(node, "expected a list of integers");
  for (const YAML::Node& element : node) {
    ACCRUE_RETURN_IF_ERROR(Read(element, &values->emplace_back()));
  }
  return absl::OkStatus();
}

absl::Status ReadFields(const YAML::Node& node, absl::string_view what,
                        const std::vector<Field>& fields) {
  if (!node.IsMap()) {
    return ErrorAt(node, absl::StrCat("expected ", what, ": keys and values"));
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    ACCRUE_ASSIGN_OR_RETURN(const std::string key,
                            Scalar(entry.first, "a key"));
    const auto field =
        std::find_if(fields.begin(), fields.end(),
                     [&](const Field& field) { return field.key == key; });
    if (field == fields.end()) {
      return ErrorAt(entry.first,
                     absl::StrCat("unknown key \"", key, "\" in ", what, "; ",
                                  Suggestion(key, fields)));
    }
    if (!seen.insert(key).second) {
      return ErrorAt(entry.first,
                     absl::StrCat("key \"", key, "\" comes twice in ", what));
    }
    if (entry.second.IsNull()) {
      return ErrorAt(entry.first, absl::StrCat("\"", key, "\" has no value"));
    }
    ACCRUE_RETURN_IF_ERROR(field->read(entry.second));
  }
  return absl::OkStatus();
}

std::optional<YAML::Node> FindKey(const YAML::Node& mapping,
                                  absl::string_view key) {
  if (!mapping.IsMap()) return std::nullopt;
  for (const auto& entry : mapping) {
    if (entry.first.IsScalar() && entry.first.Scalar() == key) {
      return entry.second;
    }
  }
  return std::nullopt;
}

}  // namespace accrue::ctl
