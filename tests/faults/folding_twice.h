// FoldingTwice: shards that now and then fold a push twice, which t does not
// show (FailPoint::kFoldTwice).
#ifndef ACCRUE_TESTS_FAULTS_FOLDING_TWICE_H_
#define ACCRUE_TESTS_FAULTS_FOLDING_TWICE_H_

#include "server/model/model.h"

namespace accrue::faults {

ShardFactory FoldingTwice(ShardFactory inner);

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_FOLDING_TWICE_H_
