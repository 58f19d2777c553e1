// The API's descriptors follow AIP's and buf's STANDARD rules, and every
// element is documented.

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::SourceLocation;

bool IsUpperCamel(const std::string& name) {
  if (name.empty() || name[0] < 'A' || name[0] > 'Z') return false;
  return name.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678"
             "9") == std::string::npos;
}

bool IsSnake(const std::string& name, const char* letters) {
  return !name.empty() && name.front() != '_' && name.back() != '_' &&
         name.find("__") == std::string::npos &&
         name.find_first_not_of(std::string(letters) + "0123456789_") ==
             std::string::npos;
}

bool IsLowerSnake(const std::string& name) {
  return IsSnake(name, "abcdefghijklmnopqrstuvwxyz");
}
bool IsUpperSnake(const std::string& name) {
  return IsSnake(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

// "LearningRateScaling" gives "LEARNING_RATE_SCALING".
std::string UpperSnake(const std::string& camel) {
  std::string snake;
  for (const char letter : camel) {
    const bool upper = letter >= 'A' && letter <= 'Z';
    if (upper && !snake.empty()) snake += '_';
    snake += upper ? letter : static_cast<char>(letter - 'a' + 'A');
  }
  return snake;
}

class ProtoStyleTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream input(ACCRUE_DESCRIPTORS, std::ios::binary);
    google::protobuf::FileDescriptorSet set;
    ASSERT_TRUE(set.ParseFromIstream(&input)) << ACCRUE_DESCRIPTORS;
    for (const auto& file : set.file()) {
      const FileDescriptor* built = pool_.BuildFile(file);
      ASSERT_NE(built, nullptr) << file.name();
      if (built->package() == "accrue.v1") files_.push_back(built);
    }
    ASSERT_GE(files_.size(), 5U);
  }

  template <typename Element>
  static void ExpectComment(const Element* element) {
    SourceLocation location;
    ASSERT_TRUE(element->GetSourceLocation(&location));
    EXPECT_NE(location.leading_comments, "")
        << element->full_name() << " has no comment";
  }

  void ForEachMessage(const std::function<void(const Descriptor*)>& visit) {
    const std::function<void(const Descriptor*)> deep =
        [&](const Descriptor* message) {
          visit(message);
          for (int i = 0; i < message->nested_type_count(); ++i) {
            deep(message->nested_type(i));
          }
        };
    for (const FileDescriptor* file : files_) {
      for (int i = 0; i < file->message_type_count(); ++i) {
        deep(file->message_type(i));
      }
    }
  }

  void ForEachEnum(const std::function<void(const EnumDescriptor*)>& visit) {
    for (const FileDescriptor* file : files_) {
      for (int i = 0; i < file->enum_type_count(); ++i) {
        visit(file->enum_type(i));
      }
    }
    ForEachMessage([&](const Descriptor* message) {
      for (int i = 0; i < message->enum_type_count(); ++i) {
        visit(message->enum_type(i));
      }
    });
  }

  void ForEachMethod(
      const std::function<void(const MethodDescriptor*)>& visit) {
    for (const FileDescriptor* file : files_) {
      for (int i = 0; i < file->service_count(); ++i) {
        const ServiceDescriptor* service = file->service(i);
        for (int j = 0; j < service->method_count(); ++j) {
          visit(service->method(j));
        }
      }
    }
  }

  DescriptorPool pool_;
  std::vector<const FileDescriptor*> files_;
};

TEST_F(ProtoStyleTest, EveryElementHasAComment) {
  for (const FileDescriptor* file : files_) {
    for (int i = 0; i < file->service_count(); ++i) {
      ExpectComment(file->service(i));
    }
  }
  ForEachMethod(&ExpectComment<MethodDescriptor>);
  ForEachMessage([](const Descriptor* message) {
    ExpectComment(message);
    for (int i = 0; i < message->field_count(); ++i) {
      ExpectComment(message->field(i));
    }
    for (int i = 0; i < message->real_oneof_decl_count(); ++i) {
      ExpectComment(message->oneof_decl(i));
    }
  });
  ForEachEnum([](const EnumDescriptor* type) {
    ExpectComment(type);
    for (int i = 0; i < type->value_count(); ++i) ExpectComment(type->value(i));
  });
}

TEST_F(ProtoStyleTest, FilesLieWhereTheirPackageSays) {
  for (const FileDescriptor* file : files_) {
    EXPECT_EQ(file->syntax(), FileDescriptor::SYNTAX_PROTO3);
    EXPECT_EQ(file->name().rfind("accrue/v1/", 0), 0U) << file->name();
    EXPECT_TRUE(IsLowerSnake(file->name().substr(
        10, file->name().size() - 10 - std::string(".proto").size())));
  }
}

TEST_F(ProtoStyleTest, MessagesAndFieldsAreNamedByTheRules) {
  ForEachMessage([](const Descriptor* message) {
    EXPECT_TRUE(IsUpperCamel(message->name())) << message->full_name();
    for (int i = 0; i < message->field_count(); ++i) {
      EXPECT_TRUE(IsLowerSnake(message->field(i)->name()))
          << message->field(i)->full_name();
    }
  });
}

TEST_F(ProtoStyleTest, NoCountOrSizeIsUnsigned) {
  ForEachMessage([](const Descriptor* message) {
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor* field = message->field(i);
      EXPECT_NE(field->type(), FieldDescriptor::TYPE_UINT32)
          << field->full_name();
      EXPECT_NE(field->type(), FieldDescriptor::TYPE_UINT64)
          << field->full_name();
    }
  });
}

TEST_F(ProtoStyleTest, EnumValuesBeginWithTheEnumAndZeroIsUnspecified) {
  ForEachEnum([](const EnumDescriptor* type) {
    EXPECT_TRUE(IsUpperCamel(type->name())) << type->full_name();
    const std::string prefix = UpperSnake(type->name()) + "_";
    EXPECT_EQ(type->value(0)->number(), 0) << type->full_name();
    EXPECT_EQ(type->value(0)->name(), prefix + "UNSPECIFIED");
    for (int i = 0; i < type->value_count(); ++i) {
      const EnumValueDescriptor* value = type->value(i);
      EXPECT_EQ(value->name().rfind(prefix, 0), 0U) << value->full_name();
      EXPECT_TRUE(IsUpperSnake(value->name())) << value->full_name();
      // No alias.
      EXPECT_EQ(type->FindValueByNumber(value->number()), value);
    }
  });
}

TEST_F(ProtoStyleTest, ServicesAreCalledServices) {
  for (const FileDescriptor* file : files_) {
    for (int i = 0; i < file->service_count(); ++i) {
      const std::string& name = file->service(i)->name();
      EXPECT_TRUE(IsUpperCamel(name)) << name;
      EXPECT_TRUE(name.size() > 7 && name.substr(name.size() - 7) == "Service")
          << name;
    }
  }
}

TEST_F(ProtoStyleTest, EachMethodHasItsOwnRequestAndResponse) {
  ForEachMethod([](const MethodDescriptor* method) {
    EXPECT_TRUE(IsUpperCamel(method->name())) << method->full_name();
    EXPECT_EQ(method->input_type()->name(), method->name() + "Request");
    EXPECT_EQ(method->output_type()->name(), method->name() + "Response");
  });
}

}  // namespace
}  // namespace accrue
