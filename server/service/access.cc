#include "server/service/access.h"

#include <utility>
#include <vector>

#include <grpc/grpc.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
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

// The hash of the token that a call shows.
absl::StatusOr<Sha256> ShownToken(const grpc::ServerContextBase& context) {
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
  return HashToken(token);
}

// gRPC's part of a call, which it keeps for as long as this is there.
using KeptCall = std::unique_ptr<grpc_call, decltype(&grpc_call_unref)>;

KeptCall Keep(grpc_call* call) {
  grpc_call_ref(call);
  return {call, grpc_call_unref};
}

void EndCall(grpc_call* call, const absl::Status& status) {
  grpc_call_cancel_with_status(call,
                               static_cast<grpc_status_code>(status.code()),
                               std::string(status.message()).c_str(), nullptr);
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
  absl::StatusOr<Sha256> token = absl::UnauthenticatedError("");
  // Of a stream, which may be ended from elsewhere.
  KeptCall kept{nullptr, grpc_call_unref};

  // Whether it may go on by these tokens (null: none is asked for), as far as
  // it is known by now what it is about.
  void Judge(const Tokens* tokens) ACCRUE_EXCLUDES(mutex_) {
    const auto principal = Whose(tokens);
    MutexLock lock(&mutex_);
    if (principal.ok()) principal_ = *principal;
    refusal_ = principal.ok() ? CheckRole() : principal.status();
    if (refusal_.ok() && !model_.empty()) refusal_ = CheckModel();
  }

  // What it is about is known once the handler is.
  absl::Status JudgeModel(absl::string_view model) ACCRUE_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    model_ = std::string(model);
    return refusal_.ok() ? CheckModel() : refusal_;
  }

  void Refuse(absl::Status why) ACCRUE_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    refusal_ = std::move(why);
  }

  // OK: it may go on.
  absl::Status refusal() const ACCRUE_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return refusal_;
  }
  // Null if nobody is known.
  std::shared_ptr<const Principal> principal() const ACCRUE_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return principal_;
  }
  std::string model() const ACCRUE_EXCLUDES(mutex_) {
    MutexLock lock(&mutex_);
    return model_;
  }

 private:
  absl::StatusOr<std::shared_ptr<const Principal>> Whose(
      const Tokens* tokens) const {
    if (tokens == nullptr) return Anybody();
    ACCRUE_RETURN_IF_ERROR(token.status());
    auto principal = tokens->Find(*token);
    if (principal == nullptr) {
      return absl::UnauthenticatedError("unknown token");
    }
    return principal;
  }

  absl::Status CheckRole() const ACCRUE_REQUIRES(mutex_) {
    if (!need.has_value()) {
      return absl::PermissionDeniedError(
          absl::StrCat(method, " is nobody's to call"));
    }
    if (NeedFor(principal_->role) >= *need) return absl::OkStatus();
    return absl::PermissionDeniedError(absl::StrCat(
        method, " takes the role ", RoleFor(*need), ", the token \"",
        principal_->name, "\" has ", RoleName(principal_->role)));
  }

  absl::Status CheckModel() const ACCRUE_REQUIRES(mutex_) {
    if (principal_->HasAccessTo(model_)) return absl::OkStatus();
    ErrorInfo info;
    info.subject = model_;
    return MakeError(absl::StatusCode::kPermissionDenied, info,
                     absl::StrCat("the token \"", principal_->name,
                                  "\" is not for model \"", model_, "\""));
  }

  mutable Mutex mutex_;
  absl::Status refusal_ ACCRUE_GUARDED_BY(mutex_);
  std::shared_ptr<const Principal> principal_ ACCRUE_GUARDED_BY(mutex_);
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
    const absl::Status refusal = call_->refusal();
    Tell(refusal.ok() ? absl::StatusCode::kCancelled : refusal.code());
  }

  void Intercept(
      grpc::experimental::InterceptorBatchMethods* methods) override {
    using Hook = grpc::experimental::InterceptionHookPoints;
    // The first there is, before the handler runs. (When the interceptor is
    // made the context may not know its call yet.)
    if (methods->QueryInterceptionHookPoint(Hook::POST_RECV_INITIAL_METADATA)) {
      call_ = access_->Begin(method_, streams_, context_);
      const absl::Status refusal = call_->refusal();
      if (!refusal.ok() && !absl::StartsWith(method_, kOwnPackage)) {
        EndCall(context_->c_call(), refusal);
        Tell(refusal.code());
      }
    }
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_STATUS)) {
      // Whatever a handler makes of a call that it should have asked about.
      const absl::Status refusal =
          call_ == nullptr ? absl::OkStatus() : call_->refusal();
      if (!refusal.ok()) methods->ModifySendStatus(ToGrpc(refusal));
      Tell(
          static_cast<absl::StatusCode>(methods->GetSendStatus().error_code()));
    }
    methods->Proceed();
  }

 private:
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
  std::vector<std::pair<std::shared_ptr<Call>, absl::Status>> ended;
  {
    MutexLock lock(&mutex_);
    tokens_ = tokens;
    for (const auto& [context, call] : calls_) {
      if (call->kept == nullptr || call->need == Need::kNothing) continue;
      call->Judge(tokens.get());
      if (absl::Status refusal = call->refusal(); !refusal.ok()) {
        ended.emplace_back(call, std::move(refusal));
      }
    }
  }
  for (const auto& [call, why] : ended) EndCall(call->kept.get(), why);
}

std::shared_ptr<Access::Call> Access::Begin(std::string method, bool streams,
                                            grpc::ServerContextBase* context) {
  auto call = std::make_shared<Call>();
  call->need = NeedOf(method);
  call->method = std::move(method);
  call->peer = connections_->NameOf(context->peer());
  std::shared_ptr<const Tokens> tokens;
  {
    MutexLock lock(&mutex_);
    tokens = tokens_;
  }
  absl::Status refusal;
  if (call->need != Need::kNothing) {
    call->token = ShownToken(*context);
    call->Judge(tokens.get());
    refusal = call->refusal();
    const auto principal = call->principal();
    if (principal != nullptr) call->caller = principal->name;
  }
  // For the audit's line, which other calls do not have.
  if (call->caller.empty() && (call->need == Need::kAdmin || !refusal.ok())) {
    call->caller = CertificateSubject(*context);
    if (call->caller.empty()) call->caller = "anonymous";
  }
  if (streams && refusal.ok()) call->kept = Keep(context->c_call());
  MutexLock lock(&mutex_);
  // Who has set new ones since did not see this call.
  if (tokens_ != tokens && call->need != Need::kNothing) {
    call->Judge(tokens_.get());
  }
  if (call->kept != nullptr) CountStream(*call);
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
  // It ends as it begins; new tokens would forget that it is one too many.
  call.kept.reset();
  ErrorInfo info;
  info.reason = Reason::kLimit;
  info.retry_after = kRetryAfter;
  info.subject = "max_streams_per_peer";
  call.Refuse(MakeError(
      absl::StatusCode::kResourceExhausted, info,
      absl::StrCat(count, " streams of ", host,
                   " are open, --max_streams_per_peer allows no more")));
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
  return model.has_value() ? call->JudgeModel(*model) : call->refusal();
}

std::shared_ptr<const Principal> Access::Caller(
    const grpc::ServerContextBase* context) {
  const std::shared_ptr<Call> call = Find(context);
  return call == nullptr ? nullptr : call->principal();
}

}  // namespace accrue
