#include "server/durability/json_text.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

// Builds the value as the parser goes along; each event says whether to go on.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  absl::Status status() const { return status_; }
  Json Take() { return std::move(root_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(int64_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(uint64_t value) override {
    return Add(value) != nullptr;
  }
  bool number_float(double value, const std::string& /*text*/) override {
    return Add(value) != nullptr;
  }
  bool string(std::string& value) override {
    return Add(std::move(value)) != nullptr;
  }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(size_t /*size*/) override { return Open(Json::object()); }
  bool start_array(size_t /*size*/) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(std::string& name) override {
    auto [place, is_new] = open_.back()->emplace(name, nullptr);
    if (!is_new) return Fail(absl::StrCat("\"", name, "\" comes twice"));
    member_ = &*place;
    return true;
  }

  bool parse_error(size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return Fail(absl::StrCat("no JSON, at byte ", position));
  }

 private:
  bool Fail(absl::string_view what) {
    status_ = absl::InvalidArgumentError(what);
    return false;
  }

  // Where the value now lies; null: there are too many.
  Json* Add(Json value) {
    if (++values_ > limits_.max_values) {
      Fail(absl::StrCat("more than ", limits_.max_values, " values"));
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *member_ = std::move(value);
    return member_;
  }

  bool Open(Json empty) {
    if (static_cast<int64_t>(open_.size()) >= limits_.max_depth) {
      return Fail(absl::StrCat("more than ", limits_.max_depth, " levels"));
    }
    Json* added = Add(std::move(empty));
    if (added == nullptr) return false;
    open_.push_back(added);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  absl::Status status_;
  Json root_;
  int64_t values_ = 0;
  // Each lies in the one before, which gets no other member meanwhile.
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // of the innermost object, to be set next
};

}  // namespace

absl::StatusOr<Json> ParseJson(absl::string_view text,
                               const JsonLimits& limits) {
  Builder builder(limits);
  const bool whole =
      Json::sax_parse(text.data(), text.data() + text.size(), &builder);
  if (!builder.status().ok()) return builder.status();
  if (!whole) return absl::InvalidArgumentError("no JSON");
  return builder.Take();
}

}  // namespace accrue
