// ApiEnum: tables between the API's enums and ours, used in both directions.
//
// Errors.    INVALID_ARGUMENT kInvalidSpec: a value that is in no row; the
//            message lists those that are

#ifndef ACCRUE_SERVER_SERVICE_API_ENUM_H_
#define ACCRUE_SERVER_SERVICE_API_ENUM_H_

#include <cstddef>
#include <string>

#include <google/protobuf/generated_enum_reflection.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace accrue {

template <typename Api, typename Ours>
struct EnumRow {
  Api api;
  Ours ours;
};

template <typename Api>
std::string ApiEnumName(Api value) {
  const auto* descriptor =
      google::protobuf::GetEnumDescriptor<Api>()->FindValueByNumber(value);
  return descriptor == nullptr ? std::to_string(static_cast<int>(value))
                               : descriptor->name();
}

// `field` is what the error calls it: "spec.optimizer.decay".
template <typename Api, typename Ours, size_t n>
absl::StatusOr<Ours> FromApi(const EnumRow<Api, Ours> (&table)[n], Api value,
                             const std::string& field) {
  std::string wanted;
  for (const EnumRow<Api, Ours>& row : table) {
    if (row.api == value) return row.ours;
    absl::StrAppend(&wanted, wanted.empty() ? "" : ", ", ApiEnumName(row.api));
  }
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                   absl::StrCat(field, ": ", ApiEnumName(value), ", want ",
                                n > 1 ? "one of " : "", wanted));
}

// Every value of ours has a row.
template <typename Api, typename Ours, size_t n>
Api ToApi(const EnumRow<Api, Ours> (&table)[n], Ours value) {
  for (const EnumRow<Api, Ours>& row : table) {
    if (row.ours == value) return row.api;
  }
  return Api();
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_API_ENUM_H_
