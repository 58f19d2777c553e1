#include "server/service/field_count.h"

#include <map>
#include <string>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormat;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Whether parsing takes it for that field, and not for an unknown one.
bool Fits(const FieldDescriptor& field, WireFormatLite::WireType type) {
  return type == WireFormat::WireTypeForFieldType(field.type()) ||
         (field.is_packable() &&
          type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

class FieldCounter {
 public:
  // Counts what comes until the stream's limit, as far as it can be read.
  // `above` is what goes before its fields' names.
  void Count(CodedInputStream& input, const Descriptor& message,
             const std::string& above) {
    while (const uint32_t tag = input.ReadTag()) {
      const auto type = WireFormatLite::GetTagWireType(tag);
      // It would nest without end.
      if (type == WireFormatLite::WIRETYPE_START_GROUP) has_group_ = true;
      if (has_group_) return;
      const FieldDescriptor* field =
          message.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
      if (field != nullptr && !Fits(*field, type)) field = nullptr;
      CountOne(field, above);
      if (field != nullptr && field->message_type() != nullptr) {
        if (!CountWithin(input, *field, above)) return;
      } else if (!WireFormatLite::SkipField(&input, tag)) {
        return;
      }
    }
  }

  absl::Status Check(int64_t limit) const {
    if (has_group_) {
      return absl::InvalidArgumentError("a group, want fields of proto3");
    }
    for (const auto& [field, entries] : entries_) {
      ACCRUE_RETURN_IF_ERROR(CheckCount(entries.name, entries.count, limit));
    }
    return CheckCount("unknown fields", unknown_, limit);
  }

 private:
  struct Entries {
    std::string name;
    int64_t count = 0;
  };

  // Null: no field of the message's.
  void CountOne(const FieldDescriptor* field, const std::string& above) {
    if (field == nullptr) {
      ++unknown_;
    } else if (field->is_repeated() && !field->is_packable()) {
      Entries& entries = entries_[field];
      if (entries.count++ == 0) entries.name = above + field->name();
    }
  }

  bool CountWithin(CodedInputStream& input, const FieldDescriptor& field,
                   const std::string& above) {
    int size = 0;
    if (!input.ReadVarintSizeAsInt(&size)) return false;
    if (size == 0) return true;
    const auto limit = input.PushLimit(size);
    Count(input, *field.message_type(), absl::StrCat(above, field.name(), "."));
    const bool whole = input.Skip(input.BytesUntilLimit());
    input.PopLimit(limit);
    return whole;
  }

  std::map<const FieldDescriptor*, Entries> entries_;
  int64_t unknown_ = 0;
  bool has_group_ = false;
};

}  // namespace

absl::Status CheckCount(absl::string_view field, int64_t count, int64_t limit) {
  if (count <= limit) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                   absl::StrCat(field, ": ", count, ", at most ", limit));
}

absl::Status CheckFieldCounts(absl::string_view bytes,
                              const Descriptor& message, int64_t limit) {
  CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                         static_cast<int>(bytes.size()));
  FieldCounter counter;
  counter.Count(input, message, "");
  return counter.Check(limit);
}

}  // namespace accrue
