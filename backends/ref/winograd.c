/* Twins of the stages of Winograd's algorithm, with the matrices of the kernels. */
#include "backends/ref/ref.h"
#include "kernels/winograd_matrices.h"

#include <string.h>

enum { MOST = 7, ROW = 8 }; /* points of one dimension, M + 2; of a row for kernels of 5 */

/* For M from 2: A [M][T], G [T][3], B [T][T]. */
#define Q(n, d) ((double)(n) / (d))
static const double matrix_a2[] = WINOGRAD_A2, matrix_a3[] = WINOGRAD_A3, matrix_a4[] = WINOGRAD_A4,
                    matrix_a5[] = WINOGRAD_A5;
static const double matrix_g2[] = WINOGRAD_G2, matrix_g3[] = WINOGRAD_G3, matrix_g4[] = WINOGRAD_G4,
                    matrix_g5[] = WINOGRAD_G5;
static const double matrix_b2[] = WINOGRAD_B2, matrix_b3[] = WINOGRAD_B3, matrix_b4[] = WINOGRAD_B4,
                    matrix_b5[] = WINOGRAD_B5;
static const double row_a[] = WINOGRAD_ROW_A, row_b[] = WINOGRAD_ROW_B, row_g[] = WINOGRAD_ROW_G;
static const double *const matrix_a[] = {matrix_a2, matrix_a3, matrix_a4, matrix_a5},
                           *const matrix_g[] = {matrix_g2, matrix_g3, matrix_g4, matrix_g5},
                           *const matrix_b[] = {matrix_b2, matrix_b3, matrix_b4, matrix_b5};

/* A matrix by rows, or its transpose. */
typedef struct matrix {
  const double *values; /* [rows][columns], or [columns][rows] when turned */
  int rows, columns;
  bool turned;
} matrix;

static double at(const matrix *m, int row, int column) {
  return m->turned ? m->values[column * m->rows + row] : m->values[row * m->columns + column];
}

/* out[rows][rows] = m in[columns][columns] m' */
static void sandwich(const matrix *m, const double *in, double *out) {
  double half[MOST * MOST] = {0};
  for (int r = 0; r < m->rows; r++)
    for (int c = 0; c < m->columns; c++) {
      half[r * m->columns + c] = 0;
      for (int k = 0; k < m->columns; k++) half[r * m->columns + c] += at(m, r, k) * in[k * m->columns + c];
    }
  for (int r = 0; r < m->rows; r++)
    for (int c = 0; c < m->rows; c++) {
      out[r * m->rows + c] = 0;
      for (int k = 0; k < m->columns; k++) out[r * m->rows + c] += half[r * m->columns + k] * at(m, c, k);
    }
}

/* out[rows] = m[rows][columns] in */
static void multiply(const double *m, int rows, int columns, const double *in, double *out) {
  for (int r = 0; r < rows; r++) {
    out[r] = 0;
    for (int c = 0; c < columns; c++) out[r] += m[r * columns + c] * in[c];
  }
}

/* u[OC][IC][5][8] of output channel `o`. */
static void weights_by_rows(const duet_constants *k, const ref_real *w, ptrdiff_t o, ref_real *u) {
  for (ptrdiff_t row = o * k->IC * k->K; row < (o + 1) * k->IC * k->K; row++) {
    double taps[5], points[ROW];
    for (int j = 0; j < k->K; j++) {
      const ptrdiff_t kernel = row / k->K * k->K * k->K, at = row % k->K * k->K + j;
      taps[j] = (double)w[kernel + (k->BACK ? k->K * k->K - 1 - at : at)];
    }
    multiply(row_g, ROW, k->K, taps, points);
    for (int p = 0; p < ROW; p++) u[row * ROW + p] = (ref_real)points[p];
  }
}

void REF_TWIN(winograd_weights)(const ref_call *call) {
  if (call->k->K == 5) {
    weights_by_rows(call->k, call->operand[0], (ptrdiff_t)call->index, call->operand[1]);
    return;
  }
  const int T = call->k->WINOGRAD + 2;
  const ptrdiff_t ic = call->k->IC, oc = call->k->OC, o = (ptrdiff_t)call->index;
  const matrix g = {matrix_g[T - 4], T, 3, false};
  const ref_real *w = call->operand[0];
  ref_real *u = call->operand[1];
  for (ptrdiff_t c = 0; c < ic; c++) {
    double taps[9] = {0}, points[MOST * MOST];
    for (int i = 0; i < 9; i++) taps[i] = (double)w[(o * ic + c) * 9 + (call->k->BACK ? 8 - i : i)];
    sandwich(&g, taps, points);
    for (int i = 0; i < T * T; i++) u[(i * oc + o) * ic + c] = (ref_real)points[i];
  }
}

/* out[M] = results of a row of image `l`, whose window begins at (top, left). */
static void row_tile(const ref_winograd *w, int top, int left, int l, double *out) {
  double sum[ROW] = {0}, d[ROW], points[ROW];
  for (ptrdiff_t c = 0; c < w->channels; c++)
    for (int kh = 0; kh < w->K; kh++) {
      const int row = top + kh;
      for (int i = 0; i < ROW; i++) {
        const bool inside = row >= 0 && row < w->height && left + i >= 0 && left + i < w->width;
        d[i] = inside ? (double)w->x[((c * w->height + row) * w->width + left + i) * REF_LANES + l] : 0;
      }
      multiply(row_b, ROW, ROW, d, points);
      for (int i = 0; i < ROW; i++) sum[i] += (double)w->u[c * w->step + kh * ROW + i] * points[i];
    }
  multiply(row_a, w->M, ROW, sum, out);
}

/* out[M*M] = one tile of image `l`, whose patch begins at (top, left). */
static void tile(const ref_winograd *w, int top, int left, int l, double *out) {
  const int T = w->M + 2;
  const matrix a = {matrix_a[w->M - 2], w->M, T, false}, b = {matrix_b[w->M - 2], T, T, false};
  double sum[MOST * MOST] = {0}, d[MOST * MOST], points[MOST * MOST];
  for (ptrdiff_t c = 0; c < w->channels; c++) {
    for (int i = 0; i < T * T; i++) {
      const int row = top + i / T, column = left + i % T;
      const bool inside = row >= 0 && row < w->height && column >= 0 && column < w->width;
      d[i] = inside ? (double)w->x[((c * w->height + row) * w->width + column) * REF_LANES + l] : 0;
    }
    sandwich(&b, d, points);
    for (int i = 0; i < T * T; i++) sum[i] += (double)w->u[i * w->points + c * w->step] * points[i];
  }
  sandwich(&a, sum, out);
}

static void results_by_rows(const ref_winograd *w, int row, double out[][REF_LANES]) {
  for (int column = 0; column < w->columns; column += w->M)
    for (int l = 0; l < REF_LANES; l++) {
      double results[ROW];
      row_tile(w, row - w->pad, column - w->pad, l, results);
      for (int i = 0; i < w->M && column + i < w->columns; i++) out[column + i][l] = results[i];
    }
}

void REF_TWIN(winograd_begin)(ref_winograd *w, const ref_call *call, bool back, ptrdiff_t channel) {
  const duet_constants *k = call->k;
  const ptrdiff_t kernel = k->K == 5 ? k->K * ROW : 1; /* floats from one kernel's points to the next one's */
  w->x = call->operand[0];
  w->channels = back ? k->OC : k->IC;
  w->height = back ? k->OH : k->IH;
  w->width = back ? k->OW : k->IW;
  w->pad = back ? k->K - 1 - k->PAD : k->PAD;
  w->columns = back ? k->IW : k->OW;
  w->u = (const ref_real *)call->operand[1] + channel * (back ? 1 : k->IC) * kernel;
  w->points = (ptrdiff_t)k->OC * k->IC;
  w->step = (back ? k->IC : 1) * kernel;
  w->K = k->K;
  w->M = k->WINOGRAD;
  w->band = -1;
}

void REF_TWIN(winograd_row)(ref_winograd *w, int row, double out[][REF_LANES]) {
  if (w->K == 5) {
    results_by_rows(w, row, out);
    return;
  }
  const int M = w->M, band = row / M;
  for (int column = 0; band != w->band && column < w->columns; column += M)
    for (int l = 0; l < REF_LANES; l++) {
      double results[MOST * MOST];
      tile(w, band * M - w->pad, column - w->pad, l, results);
      for (int i = 0; i < M * M; i++)
        if (column + i % M < w->columns) w->rows[i / M][column + i % M][l] = results[i];
    }
  w->band = band;
  memcpy(out, w->rows[row % M], sizeof *out * (size_t)w->columns);
}

/* Where point `i` of channel `c` of image `l` is in vt[T*T][channels/16][16 images][16]. */
static ptrdiff_t turned_at(ptrdiff_t channels, ptrdiff_t i, ptrdiff_t c, ptrdiff_t l) {
  return ((i * (channels / REF_LANES) + c / REF_LANES) * REF_LANES + l) * REF_LANES + c % REF_LANES;
}

void REF_TWIN(winograd_to_points)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int M = k->WINOGRAD, T = M + 2, side = k->BACK ? M : T, pad = k->BACK ? 0 : k->PAD;
  const int channels = k->BACK ? k->OC : k->IC, height = k->BACK ? k->OH : k->IH, width = k->BACK ? k->OW : k->IW;
  const matrix m = k->BACK ? (matrix){matrix_a[M - 2], T, M, true} : (matrix){matrix_b[M - 2], T, T, false};
  const ref_real *x = call->operand[0];
  ref_real *v = call->operand[1], *vt = k->TRAIN && !k->BACK ? call->operand[2] : NULL;
  for (ptrdiff_t c = 0; c < channels; c++)
    for (ptrdiff_t l = 0; l < REF_LANES; l++) {
      double d[MOST * MOST] = {0}, points[MOST * MOST];
      for (int i = 0; i < side * side; i++) {
        const int row = i / side - pad, column = i % side - pad;
        const bool inside = row >= 0 && row < height && column >= 0 && column < width;
        d[i] = inside ? (double)x[((c * height + row) * width + column) * REF_LANES + l] : 0;
      }
      sandwich(&m, d, points);
      for (int i = 0; i < T * T; i++) {
        v[(i * channels + c) * REF_LANES + l] = (ref_real)points[i];
        if (vt) vt[turned_at(channels, i, c, l)] = (ref_real)points[i];
      }
    }
}

void REF_TWIN(winograd_product)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t sources = k->BACK ? k->OC : k->IC, results = k->BACK ? k->IC : k->OC, ic = k->IC;
  const ptrdiff_t parts = (results + k->ROWS - 1) / k->ROWS, place = (ptrdiff_t)call->index / parts;
  const ptrdiff_t first = (ptrdiff_t)call->index % parts * k->ROWS;
  const ref_real *u = (const ref_real *)call->operand[1] + place * k->OC * ic;
  for (int b = 0; b < k->BLOCKS; b++)
    for (ptrdiff_t d = first; d < first + k->ROWS && d < results; d++) {
      const ref_real *v = (const ref_real *)ref_at(call, 0, b) + place * sources * REF_LANES;
      double sum[REF_LANES] = {0};
      for (ptrdiff_t s = 0; s < sources; s++) {
        const double weight = (double)(k->BACK ? u[s * ic + d] : u[d * ic + s]);
        for (int l = 0; l < REF_LANES; l++) sum[l] += weight * v[s * REF_LANES + l];
      }
      ref_store((ref_real *)ref_at(call, 2, b) + (place * results + d) * REF_LANES, sum, NULL, 0);
    }
}

void REF_TWIN(winograd_from_points)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int M = k->WINOGRAD, T = M + 2, side = k->BACK ? T : M, pad = k->BACK ? k->PAD : 0;
  const int channels = k->BACK ? k->IC : k->OC, height = k->BACK ? k->IH : k->OH, width = k->BACK ? k->IW : k->OW;
  const matrix turn = k->BACK ? (matrix){matrix_b[M - 2], T, T, true} : (matrix){matrix_a[M - 2], M, T, false};
  const ref_real *m = call->operand[0], *bias = call->operand[1], *x = call->operand[2];
  ref_real *y = call->operand[3];
  for (ptrdiff_t c = 0; c < channels; c++)
    for (ptrdiff_t l = 0; l < REF_LANES; l++) {
      double points[MOST * MOST] = {0}, out[MOST * MOST];
      for (int i = 0; i < T * T; i++) points[i] = (double)m[(i * channels + c) * REF_LANES + l];
      sandwich(&turn, points, out);
      for (int i = 0; i < height * width; i++) {
        const ptrdiff_t o = (c * height * width + i) * REF_LANES + l;
        double value = out[(i / width + pad) * side + i % width + pad] + (k->BACK ? 0 : (double)bias[c]);
        if (k->RELU) value = ref_relu(value);
        if (k->MASK && !(x[o] > 0)) value = 0;
        y[o] = (ref_real)(k->ADD ? (double)y[o] + value : value);
      }
    }
}

/* points[T*T] = sum over the images of dm[oc] vt[ic]. */
static void gradient_points(const ref_call *call, ptrdiff_t oc, ptrdiff_t ic, double *points) {
  const duet_constants *k = call->k;
  const int T = k->WINOGRAD + 2;
  for (int i = 0; i < T * T; i++) {
    points[i] = 0;
    for (int b = 0; b < k->BLOCKS; b++) {
      const ref_real *vt = (const ref_real *)ref_at(call, 0, b);
      const ref_real *dm = (const ref_real *)ref_at(call, 1, b) + ((ptrdiff_t)i * k->OC + oc) * REF_LANES;
      for (ptrdiff_t l = 0; l < REF_LANES; l++) points[i] += (double)vt[turned_at(k->IC, i, ic, l)] * (double)dm[l];
    }
  }
}

void REF_TWIN(winograd_gradient)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int T = k->WINOGRAD + 2, pixels = k->OH * k->OW;
  const matrix g = {matrix_g[k->WINOGRAD - 2], 3, T, true};
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->ROWS, end = begin + k->ROWS < k->OC ? begin + k->ROWS : k->OC;
  ref_real *dw = call->operand[4], *dbias = call->operand[5];
  for (ptrdiff_t oc = begin; oc < end; oc++) {
    for (ptrdiff_t ic = 0; ic < k->IC; ic++) {
      double points[MOST * MOST] = {0}, taps[9];
      gradient_points(call, oc, ic, points);
      sandwich(&g, points, taps);
      for (int i = 0; i < 9; i++) dw[(oc * k->IC + ic) * 9 + i] = (ref_real)taps[i];
    }
    double sum = 0;
    for (int b = 0; b < k->BLOCKS; b++) {
      const ref_real *dy = (const ref_real *)ref_at(call, 2, b) + oc * pixels * REF_LANES;
      for (ptrdiff_t i = 0; i < (ptrdiff_t)pixels * REF_LANES; i++) sum += (double)dy[i];
    }
    dbias[oc] = (ref_real)sum;
  }
}
