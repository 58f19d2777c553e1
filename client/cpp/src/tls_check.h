// WhyNoTls: why gRPC has no TLS connection to a daemon, found out by another
// handshake. gRPC itself tells all failures to connect alike, as UNAVAILABLE,
// and would try for ever what no other attempt can make good. And SpeaksTls,
// for whoever is hung up on without it.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_TLS_CHECK_H_
#define ACCRUE_CLIENT_CPP_SRC_TLS_CHECK_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "client/cpp/src/credentials.h"
#include "client/cpp/src/target.h"

namespace accrue::client::internal {

// UNAVAILABLE: nobody answers by the deadline or within 5 s, the connection
// ends without a word, or nothing is wrong: try again. UNAUTHENTICATED: one
// side does not accept the other's certificate. FAILED_PRECONDITION: what is
// spoken there is no TLS, or says that it is none for us. INVALID_ARGUMENT: our
// own certificate, key or CA cannot be used.
absl::Status WhyNoTls(const Target& target, const TlsOptions& tls,
                      const TlsPems& pems, absl::Time deadline);

// Whether who is there answers a TLS handshake with a certificate by the
// deadline, whosever it is.
bool SpeaksTls(const Target& target, absl::Time deadline);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_TLS_CHECK_H_
