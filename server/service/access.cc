#include "server/service/access.h"

#include <utility>

#include <grpc/grpc.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"
#include "server/service/method_needs.h"
#include "server/service/status.h"

namespace accrue {
namespace {

constexpr char kAuthorization[] = "authorization";
constexpr absl::string_view kOwnPackage = "/accrue.v1.";

// When a peer with too many streams may try again.
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

// "10.0.0.7", "[::1]", "unix:uid=1000".
std::string HostOf(const std::string& peer) {
  if (absl::StartsWith(peer, "unix:")) return peer;
  return peer.substr(0, peer.rfind(':'));
}

// Whoever may connect, where no token is asked for.
const std::shared_ptr<const Principal>& Anybody() {
  static const auto* const anybody = new std::shared_ptr<const Principal>(
      std::make_shared<const Principal>(Principal{.role = Role::kAdmin}));
  return *anybody;
}

// The client certificate's subject; empty: it showed none.
std::string CertificateSubject(const grpc::ServerContextBase& context) {
  const auto subjects = context.auth_context()->FindPropertyValues(
      GRPC_X509_SUBJECT_PROPERTY_NAME);
  return subjects.empty() ? ""
                          : std::string(subjects[0].data(), subjects[0].size());
}

Need NeedFor(Role role) {
  switch (role) {
    case Role::kPull:
      return Need::kPull;
    case Role::kPush:
      return Need::kPush;
    case Role::kAdmin:
      return Need::kAdmin;
  }
  return Need::kNothing;
}

absl::string_view RoleFor(Need need) {
  return RoleName(need == Need::kAdmin  ? Role::kAdmin
                  : need == Need::kPush ? Role::kPush
                                        : Role::kPull);
}

}  // namespace

// A call, from before its handler runs until gRPC is done with it.
class Access::Call {
 public:
  std::string method;
  std::optional<Need> need;
  std::string peer;
  std::string caller;
  std::string counted_for;  // its peer's host; empty: it is no stream
  absl::Status refusal;     // OK: it may go on
  std::shared_ptr<const Principal> principal;  // null if nobody is known

  // Known once the handler is.
  void set_model(absl::string_view model) {
    MutexLock lock(&mutex_);
    model_ = std::string(model);
  }
  std::string model() const {
    MutexLock lock(&mutex_);
    return model_;
  }

 private:
  mutable Mutex mutex_;
  std::string model_ ACCRUE_GUARDED_BY(mutex_);
};

class Access::Interceptor final : public grpc::experimental::Interceptor {
 public:
  Interceptor(Access* access, grpc::experimental::ServerRpcInfo* info)
      : access_(access),
        context_(info->server_context()),
        method_(info->method()),
        streams_(info->type() !=
                 grpc::experimental::ServerRpcInfo::Type::UNARY) {}

  ~Interceptor() override {
    if (call_ == nullptr) return;
    access_->End(context_, call_.get());
    // Its client has gone, or this has ended it.
    Tell(call_->refusal.ok() ? absl::StatusCode::kCancelled
                             : call_->refusal.code());
  }

  void Intercept(
      grpc::experimental::InterceptorBatchMethods* methods) override {
    using Hook = grpc::experimental::InterceptionHookPoints;
    // The first there is, before the handler runs. (When the interceptor is
    // made the context may not know its call yet.)
    if (methods->QueryInterceptionHookPoint(Hook::POST_RECV_INITIAL_METADATA)) {
      call_ = access_->Begin(method_, streams_, context_);
      if (!call_->refusal.ok() && !absl::StartsWith(method_, kOwnPackage)) {
        EndCall(call_->refusal);
        Tell(call_->refusal.code());
      }
    }
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_STATUS)) {
      // Whatever a handler makes of a call that it should have asked about.
      if (call_ != nullptr && !call_->refusal.ok()) {
        methods->ModifySendStatus(ToGrpc(call_->refusal));
      }
      Tell(
          static_cast<absl::StatusCode>(methods->GetSendStatus().error_code()));
    }
    methods->Proceed();
  }

 private:
  void EndCall(const absl::Status& status) {
    grpc_call_cancel_with_status(
        context_->c_call(), static_cast<grpc_status_code>(status.code()),
        std::string(status.message()).c_str(), nullptr);
  }

  void Tell(absl::StatusCode code) {
    // A call that was ended here has its outcome.
    if (std::exchange(told_, true) || call_ == nullptr) return;
    if (call_->need != Need::kAdmin &&
        code != absl::StatusCode::kUnauthenticated &&
        code != absl::StatusCode::kPermissionDenied) {
      return;
    }
    access_->audit_.Record({.caller = call_->caller,
                            .peer = call_->peer,
                            .method = call_->method,
                            .model = call_->model(),
                            .code = code});
  }

  Access* const access_;
  grpc::ServerContextBase* const context_;
  const std::string method_;
  const bool streams_;
  std::shared_ptr<Call> call_;
  bool told_ = false;
};

class Access::Factory final
    : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(Access* access) : access_(access) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return new Interceptor(access_, info);
  }

 private:
  Access* const access_;
};

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>
Access::NewInterceptorFactory() {
  return std::make_unique<Factory>(this);
}

void Access::SetTokens(std::shared_ptr<const Tokens> tokens) {
  MutexLock lock(&mutex_);
  tokens_.swap(tokens);
}

absl::StatusOr<std::shared_ptr<const Principal>> Access::Authenticate(
    const grpc::ServerContextBase& context) {
  std::shared_ptr<const Tokens> tokens;
  {
    MutexLock lock(&mutex_);
    tokens = tokens_;
  }
  if (tokens == nullptr) return Anybody();
  const auto& metadata = context.client_metadata();
  const auto [begin, end] = metadata.equal_range(kAuthorization);
  if (begin == end) {
    return absl::UnauthenticatedError(
        "no credentials, want \"authorization: Bearer TOKEN\"");
  }
  absl::string_view token(begin->second.data(), begin->second.size());
  if (std::next(begin) != end || !(absl::ConsumePrefix(&token, "Bearer ") ||
                                   absl::ConsumePrefix(&token, "bearer "))) {
    return absl::UnauthenticatedError(
        "want one \"authorization\", and that a \"Bearer TOKEN\"");
  }
  auto principal = tokens->Find(token);
  if (principal == nullptr) return absl::UnauthenticatedError("unknown token");
  return principal;
}

std::shared_ptr<Access::Call> Access::Begin(std::string method, bool streams,
                                            grpc::ServerContextBase* context) {
  auto call = std::make_shared<Call>();
  call->need = NeedOf(method);
  call->peer = connections_->NameOf(context->peer());
  if (call->need != Need::kNothing) {
    auto principal = Authenticate(*context);
    if (!principal.ok()) {
      call->refusal = principal.status();
    } else if (!call->need.has_value()) {
      call->refusal = absl::PermissionDeniedError(
          absl::StrCat(method, " is nobody's to call"));
    } else if (NeedFor((*principal)->role) < *call->need) {
      call->refusal = absl::PermissionDeniedError(absl::StrCat(
          method, " takes the role ", RoleFor(*call->need), ", the token \"",
          (*principal)->name, "\" has ", RoleName((*principal)->role)));
    }
    if (principal.ok()) call->principal = *std::move(principal);
  }
  if (call->principal != nullptr) call->caller = call->principal->name;
  // For the audit's line, which other calls do not have.
  if (call->caller.empty() &&
      (call->need == Need::kAdmin || !call->refusal.ok())) {
    call->caller = CertificateSubject(*context);
    if (call->caller.empty()) call->caller = "anonymous";
  }
  call->method = std::move(method);
  MutexLock lock(&mutex_);
  if (streams && call->refusal.ok()) CountStream(*call);
  calls_[context] = call;
  return call;
}

void Access::CountStream(Call& call) {
  std::string host = HostOf(call.peer);
  int64_t& count = streams_[host];
  if (count < max_streams_per_peer_) {
    ++count;
    call.counted_for = std::move(host);
    return;
  }
  ErrorInfo info;
  info.reason = Reason::kLimit;
  info.retry_after = kRetryAfter;
  info.subject = "max_streams_per_peer";
  call.refusal = MakeError(
      absl::StatusCode::kResourceExhausted, info,
      absl::StrCat(count, " streams of ", host,
                   " are open, --max_streams_per_peer allows no more"));
}

void Access::End(const grpc::ServerContextBase* context, const Call* call) {
  std::shared_ptr<Call> ended;
  MutexLock lock(&mutex_);
  const auto found = calls_.find(context);
  // Its address may be a newer call's by now.
  if (found == calls_.end() || found->second.get() != call) return;
  ended = std::move(found->second);
  calls_.erase(found);
  const auto streams = streams_.find(ended->counted_for);
  if (streams != streams_.end() && --streams->second == 0) {
    streams_.erase(streams);
  }
}

std::shared_ptr<Access::Call> Access::Find(
    const grpc::ServerContextBase* context) {
  MutexLock lock(&mutex_);
  const auto found = calls_.find(context);
  return found == calls_.end() ? nullptr : found->second;
}

absl::Status Access::Check(const grpc::ServerContextBase* context,
                           std::optional<absl::string_view> model) {
  const std::shared_ptr<Call> call = Find(context);
  if (call == nullptr) {
    return absl::PermissionDeniedError("nobody has looked at this call");
  }
  if (model.has_value()) call->set_model(*model);
  if (!call->refusal.ok()) return call->refusal;
  if (!model.has_value() || call->principal->HasAccessTo(*model)) {
    return absl::OkStatus();
  }
  ErrorInfo info;
  info.subject = std::string(*model);
  return MakeError(absl::StatusCode::kPermissionDenied, info,
                   absl::StrCat("the token \"", call->principal->name,
                                "\" is not for model \"", *model, "\""));
}

std::shared_ptr<const Principal> Access::Caller(
    const grpc::ServerContextBase* context) {
  const std::shared_ptr<Call> call = Find(context);
  return call == nullptr ? nullptr : call->principal;
}

}  // namespace accrue
