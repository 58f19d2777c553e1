// RawCall: calls of services that have no stub here, such as grpc.health.v1.

#ifndef ACCRUE_TESTS_SERVICE_RAW_CALL_H_
#define ACCRUE_TESTS_SERVICE_RAW_CALL_H_

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

namespace accrue {

// A unary or streaming call: the request and the first response as they are on
// the wire.
std::string Call(const std::shared_ptr<grpc::Channel>& channel,
                 const std::string& method, const std::string& request,
                 grpc::Status* status);

// "SERVING", "NOT_SERVING", or why there is no answer.
std::string HealthOf(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& service);

// Asks until it is `wanted`, for a minute at most: the last answer.
std::string AwaitHealth(const std::shared_ptr<grpc::Channel>& channel,
                        const std::string& service, const std::string& wanted);

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_RAW_CALL_H_
