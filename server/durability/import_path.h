// ResolveBeneath: a file that a client names, where it may name one.
//
// Errors.    INVALID_ARGUMENT: the path is absolute, or has "..". NOT_FOUND:
//            there is no such file; or it leads out of the directory by a
//            symbolic link.
// Threading. safe. Blocks for as long as the disk does.
#ifndef ACCRUE_SERVER_DURABILITY_IMPORT_PATH_H_
#define ACCRUE_SERVER_DURABILITY_IMPORT_PATH_H_

#include <string>

#include "absl/status/statusor.h"

namespace accrue {

// `path`, relative to `directory`, without symbolic links.
absl::StatusOr<std::string> ResolveBeneath(const std::string& directory,
                                           const std::string& path);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_IMPORT_PATH_H_
