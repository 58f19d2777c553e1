// Table: aligned columns for people.
//
//   Table table({{"MODEL"}, {"T", Table::kRight}});
//   table.AddRow({"mnist", "1,024"});
//   std::cout << table.ToString();
//
//   MODEL      T
//   mnist  1,024
//
// Widths count UTF-8 characters, not bytes. Lines carry no trailing blanks.

#ifndef ACCRUE_CLIENT_CTL_TABLE_H_
#define ACCRUE_CLIENT_CTL_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace accrue::ctl {

class Table {
 public:
  enum Alignment { kLeft, kRight };

  struct Column {
    std::string title;
    Alignment alignment = kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // Short rows are filled up with empty cells; longer ones lose their rest.
  void AddRow(std::vector<std::string> cells);

  // Title and rows, each with its newline; an untitled table (every title
  // empty) has rows only.
  std::string ToString() const;

 private:
  std::string Line(const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_TABLE_H_
