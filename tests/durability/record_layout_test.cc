// FORMAT.md says what a record's head is made of: every struct of a batch's,
// and bytes of a session's.
#include <cstdlib>
#include <cxxabi.h>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "server/durability/batch_record.h"
#include "server/durability/change_record.h"

namespace accrue {
namespace {

std::string Page() {
  std::ostringstream page;
  page << std::ifstream(ACCRUE_FORMAT_PAGE).rdbuf();
  return page.str();
}

// Without its namespaces.
template <typename T>
std::string NameOf() {
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(typeid(T).name(), nullptr, nullptr, nullptr),
      std::free);
  const std::string whole = name.get();
  return whole.substr(whole.rfind(':') + 1);
}

// A line for each struct: its name, and its fields with their types.
class Layout {
 public:
  template <typename T>
  void Add() {
    const std::string name = NameOf<T>();
    if (!known_.insert(name).second) return;
    Layout fields;
    fields.known_ = known_;
    fields.line_ = absl::StrCat("    ", name, ":");
    fields.width_ = fields.line_.size();
    T value{};
    VisitFields(fields, value);
    text_ += fields.line_ + "\n" + fields.text_;
    known_ = fields.known_;
  }
  template <typename T>
  void operator()(const char* name, const T& /*value*/) {
    std::string field = absl::StrCat(" ", name, " ", TypeOf<T>::Name(*this));
    if (line_.back() != ':') line_ += ",";
    if (width_ + field.size() > 78) {
      line_ += "\n       ";
      width_ = 7;
    }
    width_ += field.size() + 1;
    line_ += field;
  }
  const std::string& text() const { return text_; }

 private:
  template <typename T>
  struct TypeOf {
    static std::string Name(Layout& layout) {
      if constexpr (std::is_same_v<T, bool> || std::is_enum_v<T>) {
        return std::is_enum_v<T> ? "enum" : "bool";
      } else if constexpr (std::is_arithmetic_v<T>) {
        return absl::StrCat(std::is_floating_point_v<T> ? "f"
                            : std::is_signed_v<T>       ? "i"
                                                        : "u",
                            8 * sizeof(T));
      } else {
        layout.Add<T>();
        return NameOf<T>();
      }
    }
  };
  template <typename T>
  struct TypeOf<std::optional<T>> {
    static std::string Name(Layout& layout) {
      return TypeOf<T>::Name(layout) + "?";
    }
  };
  template <typename T>
  struct TypeOf<std::vector<T>> {
    static std::string Name(Layout& layout) {
      return absl::StrCat("[", TypeOf<T>::Name(layout), "]");
    }
  };
  template <typename K, typename T>
  struct TypeOf<std::map<K, T>> {
    static std::string Name(Layout& layout) {
      return absl::StrCat("{", TypeOf<K>::Name(layout), ": ",
                          TypeOf<T>::Name(layout), "}");
    }
  };

  std::string text_;
  std::string line_;
  size_t width_ = 0;
  std::set<std::string> known_;
};

template <>
struct Layout::TypeOf<std::string> {
  static std::string Name(Layout& /*layout*/) { return "string"; }
};

TEST(RecordLayoutTest, ThePageHasTheFieldsOfABatch) {
  Layout layout;
  layout.Add<BatchRecord>();
  layout.Add<rule::Hyperparameters>();
  EXPECT_TRUE(Page().find("\n" + layout.text() + "\n") != std::string::npos)
      << "want in FORMAT.md:\n"
      << layout.text();
}

TEST(RecordLayoutTest, ThePageHasTheHeadOfASessionThatIsOpened) {
  const JournalEntry entry = EncodeChange(SessionOpenChange{
      .worker = "w0", .id = "00112233445566778899aabbccddeeff"});
  EXPECT_EQ(entry.type, 3);
  std::string hex;
  for (size_t i = 0; i < entry.head.size(); ++i) {
    const bool begins = i % 16 == 0;
    absl::StrAppend(
        &hex, begins ? (i == 0 ? "    " : "\n    ") : " ",
        absl::StrFormat("%02x", static_cast<uint8_t>(entry.head[i])));
  }
  EXPECT_TRUE(Page().find("\n" + hex + "\n") != std::string::npos)
      << "want in FORMAT.md:\n"
      << hex;
}

}  // namespace
}  // namespace accrue
