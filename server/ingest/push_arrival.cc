#include "server/ingest/push_arrival.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/model/gathering.h"

namespace accrue {
namespace {

constexpr double kMaxRelativeWeight = 1000;
constexpr double kMinScale = 0x1p-100;
constexpr double kMaxScale = 0x1p100;
constexpr Reason kContradicts = Reason::kUnspecified;

}  // namespace

void PushArrival::OnHeader(PushHeader header, ByteChain chunk) {
  TakeHeader(
      [this, header = std::move(header), chunk = std::move(chunk)]() mutable {
        Begin(std::move(header), std::move(chunk));
      });
}

void PushArrival::Begin(PushHeader header, ByteChain chunk) {
  absl::Status usable = FindModel(header.model);
  if (usable.ok()) usable = CheckHeader(header);
  if (!usable.ok()) return Fail(std::move(usable));
  header_ = std::move(header);

  absl::StatusOr<BegunPush> begun = model()->Begin(header_, Self());
  if (!begun.ok()) return Fail(std::move(begun).status());
  begun_ = true;
  if (begun->duplicate.has_value()) {
    Leave();
    return Answer(*std::move(begun->duplicate));
  }
  Receive({.noun = "gradient",
           .payload_bytes = header_.payload_bytes,
           .encoding = header_.encoding,
           .checksum = header_.checksum,
           .stays = KeepsPayloads(model()->spec())},
          std::move(chunk));
}

// What needs no lock of the model. Comparisons are written so that they refuse
// a NaN.
absl::Status PushArrival::CheckHeader(const PushHeader& header) const {
  const auto refuse = [&](Reason reason, const auto&... problem) {
    return Error(absl::StatusCode::kInvalidArgument, reason,
                 absl::StrCat("gradient for model \"", header.model,
                              "\": ", problem...));
  };
  const int64_t elems = model()->layout()->elems();
  if (header.encoding == kernels::Encoding::kTopK &&
      elems > kernels::kMaxTopKElems) {
    return refuse(Reason::kWrongShape, elems,
                  " elements, top-k pairs name at most 2^32");
  }
  const auto want = kernels::PayloadBytesOf(header.encoding, elems);
  if (!want.Allow(header.payload_bytes)) {
    if (want.least == want.most) {
      return refuse(Reason::kWrongShape, header.payload_bytes, " bytes, want ",
                    want.least);
    }
    return refuse(Reason::kWrongShape, header.payload_bytes,
                  " bytes of pairs, want ", want.least, " to ", want.most,
                  " in steps of ", want.step, ": no more than in F32");
  }
  if (header.sequence < 1) {
    return refuse(kContradicts, "sequence ", header.sequence,
                  ", want at least 1");
  }
  if (header.version.number < 0) {
    return refuse(kContradicts, "version ", header.version.number,
                  ", want at least 0");
  }
  if (header.micro_steps < 1) {
    return refuse(kContradicts, "micro_steps ", header.micro_steps,
                  ", want at least 1");
  }
  if (!(header.scale >= kMinScale && header.scale <= kMaxScale)) {
    return refuse(kContradicts, "scale ", header.scale,
                  ", want 2^-100 to 2^100");
  }
  const double nominal = model()->spec().nominal_weight;
  const double weight = header.weight.value_or(nominal);
  if (!(weight > 0 && weight <= kMaxRelativeWeight * nominal)) {
    return refuse(kContradicts, "weight ", weight,
                  ", want above 0 and at most ", kMaxRelativeWeight,
                  " times the nominal ", nominal);
  }
  return absl::OkStatus();
}

void PushArrival::Deliver(PayloadAssembly payload,
                          Admission::Reservation reservation) {
  auto push = std::make_unique<Push>();
  push->header = std::move(header_);
  push->hash = payload.hash();
  push->first_non_finite = payload.scan().first_non_finite();
  push->max_abs = payload.scan().max_abs();
  push->group_square_sums = payload.scan().group_square_sums();
  push->payload = payload.TakeChain();
  push->reservation = std::move(reservation);
  push->done = [self = Self()](absl::StatusOr<PushOutcome> outcome) {
    self->OnStrand([self, outcome = std::move(outcome)]() mutable {
      self->Answer(std::move(outcome));
    });
  };
  model()->Submit(std::move(push), this);
}

void PushArrival::Refuse(absl::Status why) {
  if (begun_) Leave();
  Answer(std::move(why));
}

void PushArrival::Leave() { model()->Leave(this); }

void PushArrival::Answer(absl::StatusOr<PushOutcome> outcome) {
  if (Close()) std::exchange(done_, nullptr)(std::move(outcome));
}

}  // namespace accrue
