// Csv: a table that an experiment writes, comma-separated, with one line of
// column names. Values hold no commas, quotes or line ends.
//
// Threading. compatible

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CSV_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CSV_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace accrue::experiments {

class Csv {
 public:
  explicit Csv(std::vector<std::string> columns);

  // A value for each column.
  template <typename... Values>
  void Row(const Values&... values) {
    Append({Field(values)...});
  }

  // UNAVAILABLE: the file cannot be written; a part of it may be there.
  absl::Status WriteTo(const std::string& path) const;

 private:
  static std::string Field(double value) {
    return absl::StrFormat("%.9g", value);
  }
  template <typename Value>
  static std::string Field(const Value& value) {
    return absl::StrCat(value);
  }
  void Append(const std::vector<std::string>& fields);

  const size_t columns_;
  std::string text_;
};

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_CSV_H_
