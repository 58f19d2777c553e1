// OneThread: WorkPool and TimerQueue without threads, in the place of
// server/base's: what is queued runs, and what is set fires, when a target says
// so. An input so does the same every time, and as fast as one core can.
//
// Order.     what is queued runs in the order in which it was queued, over all
//            pools and lanes; a job's chunks one after another.
// Threading. for one thread.
#ifndef ACCRUE_TESTS_FUZZ_ONE_THREAD_H_
#define ACCRUE_TESTS_FUZZ_ONE_THREAD_H_

namespace accrue::fuzz {

// Runs what is queued, and what that queues.
void RunQueued();

// Fires what is set now, however far away its time is, in the order of times;
// then RunQueued.
void FireTimers();

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_ONE_THREAD_H_
