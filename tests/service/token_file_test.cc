#include "server/service/token_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kToken[] = "correct-horse-battery";

std::string Refusal(const std::string& yaml) {
  const auto tokens = ParseTokens(yaml);
  EXPECT_FALSE(tokens.ok()) << yaml;
  return std::string(tokens.status().message());
}

TEST(TokensTest, ATokenIsFoundByAllOfItsBytes) {
  const auto tokens = ParseTokens(
      "- {name: a, token: correct-horse-battery, role: push}\n"
      "- {name: b, token: another-long-token, role: admin}\n");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_NE(tokens->Find(HashToken(kToken)), nullptr);
  EXPECT_EQ(tokens->Find(HashToken(kToken))->name, "a");
  EXPECT_EQ(tokens->Find(HashToken(kToken))->role, Role::kPush);
  EXPECT_THAT(tokens->Find(HashToken(kToken))->models, IsEmpty());
  EXPECT_EQ(tokens->Find(HashToken("another-long-token"))->role, Role::kAdmin);
  for (const std::string& wrong :
       {std::string(), std::string("correct-horse-batter"),
        std::string("correct-horse-battery "),
        std::string("correct-horse-battery\0", 22)}) {
    EXPECT_EQ(tokens->Find(HashToken(wrong)), nullptr) << wrong;
  }
}

TEST(TokensTest, AFileMayHoldHashesAlone) {
  // What `printf TOKEN | sha256sum` prints.
  const auto tokens = ParseTokens(
      "- name: a\n"
      "  sha256: "
      "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08\n"
      "  role: pull\n");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_NE(tokens->Find(HashToken("test")), nullptr);
  EXPECT_EQ(tokens->Find(HashToken("test"))->role, Role::kPull);
}

TEST(TokensTest, PatternsAreGlobsOfWholeNames) {
  const Principal some{.name = "a", .models = {"mnist-*", "x?", "[yz]"}};
  for (const char* model : {"mnist-", "mnist-1", "mnist-a/b", "xy", "y", "z"}) {
    EXPECT_TRUE(some.HasAccessTo(model)) << model;
  }
  for (const char* model : {"", "mnist", "amnist-1", "x", "xyz", "yz", "Y"}) {
    EXPECT_FALSE(some.HasAccessTo(model)) << model;
  }
  EXPECT_TRUE(Principal().HasAccessTo("anything"));
}

TEST(TokensTest, WhatCannotBeIsRefusedByItsPlace) {
  const std::string good = "token: correct-horse-battery, role: pull";
  EXPECT_THAT(Refusal(""), HasSubstr("list of tokens"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("list of tokens"));
  EXPECT_THAT(Refusal("name: a"), HasSubstr("list of tokens"));
  EXPECT_THAT(Refusal("- a"), HasSubstr("entry 1"));
  EXPECT_THAT(Refusal("- {" + good + "}"), HasSubstr("entry 1: name"));
  EXPECT_THAT(Refusal("- {name: a, role: pull}"),
              HasSubstr("entry 1 \"a\": want either token or sha256"));
  EXPECT_THAT(Refusal("- {name: a, " + good + ", sha256: 00}"),
              HasSubstr("either token or sha256"));
  EXPECT_THAT(Refusal("- {name: a, token: short, role: pull}"),
              HasSubstr("at least 16"));
  for (const char* digits : {"00", "", "zz", "[]"}) {
    EXPECT_THAT(
        Refusal(std::string("- {name: a, role: pull, sha256: ") + digits + "}"),
        HasSubstr("64 hexadecimal digits"));
  }
  EXPECT_THAT(
      Refusal("- {name: a, role: pull, sha256: " + std::string(64, 'g') + "}"),
      HasSubstr("64 hexadecimal digits"));
  for (const char* role : {"root", "", "[]", "PULL"}) {
    EXPECT_THAT(
        Refusal(
            std::string("- {name: a, token: correct-horse-battery, role: ") +
            role + "}"),
        HasSubstr("pull, push or admin"));
  }
  for (const char* models : {"[]", "all", "", "[[a]]", "{a: b}"}) {
    EXPECT_THAT(Refusal("- {name: a, " + good + ", models: " + models + "}"),
                HasSubstr("list of patterns"))
        << models;
  }
  EXPECT_THAT(Refusal("- {name: a, " + good + ", model: b}"),
              HasSubstr("key other than"));
  EXPECT_THAT(Refusal("- {name: a, " + good + "}\n- {name: b, " + good + "}"),
              HasSubstr("\"a\" and \"b\" have the same token"));
  EXPECT_THAT(Refusal("- {name: a, " + good +
                      "}\n- {name: a, token: another-long-token, role: pull}"),
              HasSubstr("two tokens are named \"a\""));
}

TEST(TokensTest, NoErrorQuotesAToken) {
  for (const char* yaml :
       {"- {name: a, token: correct-horse-battery, role: bad}",
        "- {name: a, correct-horse-battery: x}",
        "- {name: a, token: correct-horse-battery",
        "- {name: a, token: *correct-horse-battery, role: pull}",
        "correct-horse-battery",
        "- {name: a, sha256: correct-horse-battery, role: pull}"}) {
    EXPECT_THAT(Refusal(yaml), Not(HasSubstr("horse"))) << yaml;
  }
}

class TokenFileTest : public testing::Test {
 protected:
  TokenFileTest() {
    char name[] = "/tmp/accrue_tokens_XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/tokens";
    std::ofstream(path_) << "text";
    chmod(path_.c_str(), 0600);
  }
  ~TokenFileTest() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
  std::string path_;
};

TEST_F(TokenFileTest, IsItsOwnersAlone) {
  EXPECT_EQ(*ReadTokenFile(path_), "text");
  chmod(path_.c_str(), 0400);
  EXPECT_EQ(*ReadTokenFile(path_), "text");
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0610, 0601, 0644}) {
    chmod(path_.c_str(), mode);
    const auto text = ReadTokenFile(path_);
    EXPECT_EQ(text.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("chmod 600"));
  }
}

TEST_F(TokenFileTest, IsAFileOfBoundedSize) {
  for (const std::string& path : {directory_, directory_ + "/absent"}) {
    EXPECT_THAT(std::string(ReadTokenFile(path).status().message()),
                HasSubstr("--token_file=" + path));
  }
  std::filesystem::resize_file(path_, (1 << 20) + 1);
  EXPECT_THAT(std::string(ReadTokenFile(path_).status().message()),
              HasSubstr("at most 1048576"));
}

}  // namespace
}  // namespace accrue
