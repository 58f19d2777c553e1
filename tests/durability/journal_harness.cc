#include "tests/durability/journal_harness.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/kernels/payload_hash.h"

namespace accrue {
namespace {

// Shares nothing with `status`: ThreadSanitizer does not see how an
// absl::Status counts.
absl::Status OwnCopy(const absl::Status& status) {
  if (status.ok()) return status;
  return MakeError(status.code(), GetErrorInfo(status), status.message());
}

struct Payloads {
  std::vector<std::string> texts;
  std::vector<ByteChain> chains;
};

std::string TextOf(const ByteChain& chain) {
  std::string text;
  for (const ByteChain::Span& span : chain.spans()) {
    text.append(reinterpret_cast<const char*>(span.data),
                static_cast<size_t>(span.size));
  }
  return text;
}

}  // namespace

Note NoteOf(int n) {
  Note note = {.type = static_cast<uint32_t>(n % 3),
               .head = "head " + std::to_string(n),
               .payloads = {}};
  for (int i = 0; i < n % 3; ++i) {
    std::string payload(static_cast<size_t>(n * 5 + i), 'p');
    for (size_t b = 0; b < payload.size(); ++b) {
      payload[b] = static_cast<char>(static_cast<size_t>(n) * 31 + b * 7);
    }
    note.payloads.push_back(std::move(payload));
  }
  return note;
}

JournalEntry EntryOf(const Note& note, size_t piece_bytes) {
  auto owner = std::make_shared<Payloads>();
  owner->texts = note.payloads;
  owner->chains.resize(note.payloads.size());
  JournalEntry entry = {
      .type = note.type, .head = note.head, .payloads = {}, .owner = owner};
  for (size_t i = 0; i < owner->texts.size(); ++i) {
    const std::string& text = owner->texts[i];
    kernels::PayloadHash hash;
    hash.Update(reinterpret_cast<const std::byte*>(text.data()),
                std::ssize(text));
    for (size_t at = 0; at < text.size(); at += piece_bytes) {
      owner->chains[i].Append(ByteChain::View(
          text.data() + at,
          static_cast<int64_t>(std::min(piece_bytes, text.size() - at))));
    }
    entry.payloads.push_back({&owner->chains[i], hash.Digest()});
  }
  return entry;
}

void Appender::Append(const Note& note) {
  journal_->Append(EntryOf(note),
                   [this, index = appended_++](const absl::Status& status) {
                     MutexLock lock(&mutex_);
                     told_.push_back({index, OwnCopy(status)});
                     changed_.SignalAll();
                   });
}

std::vector<Appender::Told> Appender::Wait() {
  MutexLock lock(&mutex_);
  while (std::ssize(told_) < appended_) changed_.Wait(&mutex_);
  return told_;
}

absl::Status Appender::AppendAndWait(const Note& note) {
  Append(note);
  return Wait().back().status;
}

absl::StatusOr<ReadBack> ReadJournal(FileSystem& files,
                                     const std::string& directory,
                                     int64_t from_lsn) {
  ACCRUE_ASSIGN_OR_RETURN(
      JournalReader reader,
      JournalReader::Open({&files, directory, kJournalId, from_lsn}));
  ReadBack back;
  while (true) {
    ACCRUE_ASSIGN_OR_RETURN(std::optional<JournalRecord> record, reader.Next());
    if (!record.has_value()) break;
    Note note = {
        .type = record->type, .head = std::move(record->head), .payloads = {}};
    for (const ByteChain& payload : record->payloads) {
      note.payloads.push_back(TextOf(payload));
    }
    back.notes.push_back(std::move(note));
  }
  back.next_lsn = reader.next_lsn();
  back.torn_bytes = reader.torn_bytes();
  ACCRUE_RETURN_IF_ERROR(reader.Settle());
  return back;
}

PoolGate::PoolGate(WorkPool& pool, int threads) {
  for (int i = 0; i < threads; ++i) {
    pool.Post(pool.NewLane(), [state = state_] {
      MutexLock lock(&state->mutex);
      ++state->held;
      state->changed.SignalAll();
      while (!state->open) state->changed.Wait(&state->mutex);
    });
  }
  MutexLock lock(&state_->mutex);
  while (state_->held < threads) state_->changed.Wait(&state_->mutex);
}

void PoolGate::Open() {
  MutexLock lock(&state_->mutex);
  state_->open = true;
  state_->changed.SignalAll();
}

}  // namespace accrue
