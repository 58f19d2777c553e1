#include "client/examples/experiments/csv.h"

#include <cassert>
#include <fstream>

#include "absl/strings/str_join.h"

namespace accrue::experiments {

Csv::Csv(std::vector<std::string> columns) : columns_(columns.size()) {
  Append(columns);
}

void Csv::Append(const std::vector<std::string>& fields) {
  assert(fields.size() == columns_);
  absl::StrAppend(&text_, absl::StrJoin(fields, ","), "\n");
}

absl::Status Csv::WriteTo(const std::string& path) const {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text_;
  file.close();
  if (file.fail()) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
  }
  return absl::OkStatus();
}

}  // namespace accrue::experiments
