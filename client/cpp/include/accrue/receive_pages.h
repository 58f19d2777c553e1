// KeepReceivePages: tells glibc's allocator to keep freed pages.
//
// Received megabytes are allocated and freed at a high rate. By default glibc
// maps each such block afresh and gives it back at once, and the page faults
// cost as much as the transfer itself: pulls are about twice as fast without
// them. The price is that the process keeps the memory of its peak.
//
// It changes the allocator of the whole process, so the library never does it
// by itself: a program that owns its process calls it first thing in main().
// Unnecessary under tcmalloc or jemalloc; nothing happens under another libc.

#ifndef ACCRUE_CLIENT_RECEIVE_PAGES_H_
#define ACCRUE_CLIENT_RECEIVE_PAGES_H_

namespace accrue::client {

void KeepReceivePages();

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_RECEIVE_PAGES_H_
