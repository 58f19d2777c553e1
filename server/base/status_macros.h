// ACCRUE_RETURN_IF_ERROR, ACCRUE_ASSIGN_OR_RETURN: early return of an error.
//
//   ACCRUE_RETURN_IF_ERROR(spec.Validate());
//   ACCRUE_ASSIGN_OR_RETURN(Layout layout, Layout::Make(spec));
//
// The target cannot contain a comma: write `auto`, or name the type.

#ifndef ACCRUE_SERVER_BASE_STATUS_MACROS_H_
#define ACCRUE_SERVER_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define ACCRUE_RETURN_IF_ERROR(...)                \
  do {                                             \
    absl::Status accrue_status = (__VA_ARGS__);    \
    if (!accrue_status.ok()) return accrue_status; \
  } while (false)

#define ACCRUE_ASSIGN_OR_RETURN(target, ...)                                   \
  ACCRUE_ASSIGN_OR_RETURN_(ACCRUE_CONCAT_(accrue_statusor_, __LINE__), target, \
                           (__VA_ARGS__))

#define ACCRUE_ASSIGN_OR_RETURN_(statusor, target, expression) \
  auto statusor = expression;                                  \
  if (!statusor.ok()) return std::move(statusor).status();     \
  target = *std::move(statusor)

#define ACCRUE_CONCAT_(a, b) ACCRUE_CONCAT_INNER_(a, b)
#define ACCRUE_CONCAT_INNER_(a, b) a##b

#endif  // ACCRUE_SERVER_BASE_STATUS_MACROS_H_
