// Fail points of a daemon that a test starts: what shall happen at them stands
// in its environment.
//
//   ACCRUE_FAIL_POINT=journal.written:3   the process ends when it comes there
//                                         for the third time after SIGUSR1; at
//                                         one of a restart, after the start
//   ACCRUE_MISTAKE=mistake.fold_twice:50  every fiftieth time it happens
//   ACCRUE_SHADOW=/tmp/shadow             the power may be cut: ForgetfulFiles
//   ACCRUE_FILE_FAULTS=/tmp/faults        whose calls fail as this file says:
//                                         FileFaults::Save
//
// Threading. as FailPointHandler
#ifndef ACCRUE_TESTS_FAULTS_FAIL_POINTS_H_
#define ACCRUE_TESTS_FAULTS_FAIL_POINTS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "server/base/fail_point.h"
#include "server/durability/file.h"

namespace accrue::faults {

// What a process that ends at a fail point exits with.
inline constexpr int kFailPointExit = 86;

// "ACCRUE_FAIL_POINT=journal.written:3", and the like of a mistake.
std::string FailPointVariable(FailPoint point, int64_t count);

// Before any thread starts. An environment that cannot be ends the process.
void InstallFailPoints();

std::string ShadowVariable(const std::string& shadow);
std::string FileFaultsVariable(const std::string& path);

// The disk that can forget; null: it is an ordinary one.
std::unique_ptr<FileSystem> FilesOfEnvironment();

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_FAIL_POINTS_H_
