/* What became slower, for scripts that must notice. */
#include "bench/compare/compare.h"

#include <math.h>
#include <stdlib.h>

/* Adds one to a list whose capacity is the next power of two of its count. */
static bool add_fault(duet_compare_fault **list, size_t *count, duet_compare_fault fault) {
  if ((*count & (*count - 1)) == 0) {
    duet_compare_fault *longer = realloc(*list, (*count ? *count * 2 : 1) * sizeof *longer);
    if (!longer) return false;
    *list = longer;
  }
  (*list)[(*count)++] = fault;
  return true;
}

static bool judge_cell(const duet_comparison *c, size_t line, size_t column, double percent,
                       duet_compare_judgement *j) {
  const duet_compare_cell *cell = duet_comparison_cell(c, line, column);
  const duet_compare_cell *base = duet_comparison_cell(c, line, c->columns[column].base);
  if (duet_compare_cell_state(base) != DUET_COMPARE_OK) return true;
  const duet_compare_fault fault = {line, column};
  if (duet_compare_cell_state(cell) != DUET_COMPARE_OK) return add_fault(&j->lost, &j->lost_count, fault);
  if (isnan(cell->ratio.low)) {
    j->unsure++;
    return true;
  }
  j->judged++;
  return cell->ratio.high >= 1 - percent / 100 || add_fault(&j->slower, &j->slower_count, fault);
}

duet_status duet_compare_judge(const duet_comparison *comparison, double percent, duet_compare_judgement *judgement,
                               duet_error *error) {
  *judgement = (duet_compare_judgement){0};
  for (size_t line = 0; line < comparison->line_count; line++)
    for (size_t i = 0; i < comparison->column_count; i++) {
      const duet_compare_column *column = &comparison->columns[i];
      if (column->base == i || (column->file_index == 0 && comparison->file_count > 1)) continue;
      if (!judge_cell(comparison, line, i, percent, judgement)) {
        duet_compare_judgement_free(judgement);
        return duet_fail(error, DUET_OUT_OF_MEMORY, "compare: no memory for what is slower");
      }
    }
  return DUET_OK;
}

void duet_compare_judgement_free(duet_compare_judgement *judgement) {
  free(judgement->slower);
  free(judgement->lost);
  *judgement = (duet_compare_judgement){0};
}
