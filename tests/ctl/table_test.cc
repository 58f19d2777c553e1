#include "client/ctl/table.h"

#include <gtest/gtest.h>

namespace accrue::ctl {
namespace {

TEST(TableTest, ColumnsAreAlignedAndLinesHaveNoTrailingBlanks) {
  Table table({{"MODEL"}, {"PUSHES", Table::kRight}, {"STATE"}});
  table.AddRow({"mnist", "1,024", "ready"});
  table.AddRow({"a-longer-name", "7", ""});
  EXPECT_EQ(table.ToString(),
            "MODEL          PUSHES  STATE\n"
            "mnist           1,024  ready\n"
            "a-longer-name       7\n");
}

TEST(TableTest, WidthsCountCharacters) {
  Table table({{"A"}, {"B"}});
  table.AddRow({"\u00e9\u00e9", "1"});
  table.AddRow({"xyz", "2"});
  EXPECT_EQ(table.ToString(),
            "A    B\n"
            "\u00e9\u00e9   1\n"
            "xyz  2\n");
}

TEST(TableTest, RowsAreFilledUpAndUntitledTablesHaveNoTitle) {
  Table table({{""}, {""}});
  table.AddRow({"state", "ready", "too many"});
  table.AddRow({"version"});
  EXPECT_EQ(table.ToString(), "state    ready\nversion\n");
}

TEST(TableTest, AnEmptyTableIsItsTitle) {
  EXPECT_EQ(Table({{"MODEL"}, {"STATE"}}).ToString(), "MODEL  STATE\n");
}

}  // namespace
}  // namespace accrue::ctl
