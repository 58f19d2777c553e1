// ACCRUE_RETURN_IF_ERROR, ACCRUE_ASSIGN_OR_RETURN: early return of an error.
//
//   ACCRUE_RETURN_IF_ERROR(spec.Validate());
//   ACCRUE_ASSIGN_OR_RETURN(Layout layout, Layout::Make(spec));
//   ACCRUE_ASSIGN_OR_RETURN((std::map<int, int> counts), Count());  // a comma

#ifndef ACCRUE_SERVER_BASE_STATUS_MACROS_H_
#define ACCRUE_SERVER_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define ACCRUE_RETURN_IF_ERROR(expression)         \
  do {                                             \
    absl::Status accrue_status = (expression);     \
    if (!accrue_status.ok()) return accrue_status; \
  } while (false)

#define ACCRUE_ASSIGN_OR_RETURN(target, expression)                            \
  ACCRUE_ASSIGN_OR_RETURN_(ACCRUE_CONCAT_(accrue_statusor_, __LINE__), target, \
                           expression)

#define ACCRUE_ASSIGN_OR_RETURN_(statusor, target, expression) \
  auto statusor = (expression);                                \
  if (!statusor.ok()) return std::move(statusor).status();     \
  ACCRUE_UNPARENTHESIZE_(target) = *std::move(statusor)

#define ACCRUE_CONCAT_(a, b) ACCRUE_CONCAT_INNER_(a, b)
#define ACCRUE_CONCAT_INNER_(a, b) a##b

// `(a, b)` becomes `a, b`; what has no parentheses around it stays. The name
// ACCRUE_PROBE_ turns into two arguments only if parentheses follow it.
#define ACCRUE_UNPARENTHESIZE_(x) \
  ACCRUE_CHOOSE_(ACCRUE_PROBE_ x, ACCRUE_STRIP_ x, x, unused)
#define ACCRUE_CHOOSE_(...) ACCRUE_THIRD_(__VA_ARGS__)
#define ACCRUE_THIRD_(a, b, c, ...) c
#define ACCRUE_PROBE_(...) unused, unused
#define ACCRUE_STRIP_(...) __VA_ARGS__

#endif  // ACCRUE_SERVER_BASE_STATUS_MACROS_H_
