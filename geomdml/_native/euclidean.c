/* All Euclidean distances of two lists of float32 vectors, tile by tile, with their gradients: `geomdml/_core/euclidean_native.py`.

   |x − y|² = |x|² + |y|² − 2<x, y> in double, and the difference itself where that cancels. */

#include "hyperbolic.h"

static const double CANCELLED = 1e-8; /* of |x|² + |y|²; below, the squared distance has lost digits */

/* Squared lengths of n vectors (n, d), and the vectors in double where `wide` is not NULL. 0 if one is not ordinary: not
   finite, or its square leaves what float32 weights can hold. */
FOR_EACH_CPU int64_t geomdml_lengths(const float *x, int64_t n, int64_t d, double *squares, double *wide) {
    int ordinary = 1;
    for (int64_t i = 0; i < n; i++) {
        const float *row = x + i * d;
        double sum = 0.0;
        _Pragma("omp simd reduction(+ : sum)") for (int64_t k = 0; k < d; k++) sum += (double)row[k] * row[k];
        squares[i] = sum;
        ordinary &= sum == 0.0 || (sum > 1e-50 && sum < 1e60);
        if (wide)
            _Pragma("omp simd") for (int64_t k = 0; k < d; k++) wide[i * d + k] = row[k];
    }
    return ordinary;
}

INLINE double square_of_difference(const float *x, const float *y, int64_t d) {
    double sum = 0.0;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t k = 0; k < d; k++) {
        double apart = (double)x[k] - y[k];
        sum += apart * apart;
    }
    return sum;
}

/* The distances, or their squares, of vectors `first` to `last` of x from all of y, from their products. */
FOR_EACH_CPU void geomdml_gaps(const float *x, const double *of_x, const float *y, const double *of_y, int64_t n_y,
                               int64_t d, int64_t squared, int64_t first, int64_t last, const double *product,
                               int64_t product_row, float *out, int64_t out_row) {
    for (int64_t i = first; i < last; i++) {
        const double *p = product + i * product_row;
        float *to = out + i * out_row;
        int64_t near = 0;
        _Pragma("omp simd reduction(+ : near)") for (int64_t j = 0; j < n_y; j++) {
            double total = of_x[i] + of_y[j], square = total - 2.0 * p[j];
            near += square < CANCELLED * total;
            square = square > 0.0 ? square : 0.0;
            to[j] = (float)(squared ? square : sqrt(square));
        }
        for (int64_t j = 0; near && j < n_y; j++) {
            double total = of_x[i] + of_y[j];
            if (!(total - 2.0 * p[j] < CANCELLED * total)) continue;
            double square = square_of_difference(x + i * d, y + j * d, d);
            to[j] = (float)(squared ? square : sqrt(square));
        }
    }
}

/* How many distances other than 0 are so short that a product of weights would lose digits: below `soft` of
   |x|² + |y|² when squared. */
FOR_EACH_CPU int64_t geomdml_short(const double *of_x, int64_t n_x, const double *of_y, int64_t n_y, int64_t squared,
                                   const float *kept, double soft) {
    int64_t found = 0;
    for (int64_t i = 0; i < n_x; i++)
        _Pragma("omp simd reduction(+ : found)") for (int64_t j = 0; j < n_y; j++) {
            double gap = kept[i * n_y + j], square = squared ? gap : gap * gap;
            found += gap > 0.0 && square < soft * (of_x[i] + of_y[j]);
        }
    return found;
}

/* The weights of a tile, w = g/|x − y| or 2g, over `scale`, and their sums over rows and columns, not divided. Short
   distances have weight 0 and are added to `single_x` and `single_y`, (n, d), which may be NULL where there are none. */
#define PULLS(NAME, REAL)                                                                                              \
    FOR_EACH_CPU void NAME(const float *x, const double *of_x, const float *y, const double *of_y, int64_t n_y,        \
                           int64_t d, int64_t squared, int64_t first, int64_t last, const float *g, int64_t g_row,     \
                           int64_t g_column, const float *kept, int64_t kept_row, double soft, double scale,           \
                           REAL *weights, int64_t weights_row, double *sums_x, double *sums_y, double *single_x,       \
                           double *single_y) {                                                                         \
        double inverse = 1.0 / scale;                                                                                  \
        for (int64_t i = first; i < last; i++) {                                                                       \
            const float *given = g + i * g_row, *gap = kept + i * kept_row;                                            \
            REAL *to = weights + i * weights_row;                                                                      \
            double sum = 0.0;                                                                                          \
            _Pragma("omp simd reduction(+ : sum)") for (int64_t j = 0; j < n_y; j++) {                                 \
                double length = gap[j], square = squared ? length : length * length;                                   \
                double weight = given[j * g_column] * (squared ? 2.0 : 1.0 / (length > 1e-300 ? length : 1e-300));     \
                weight = length > 0.0 && square >= soft * (of_x[i] + of_y[j]) ? weight : 0.0;                          \
                to[j] = (REAL)(weight * inverse);                                                                      \
                sums_y[j] += weight;                                                                                   \
                sum += weight;                                                                                         \
            }                                                                                                          \
            sums_x[i] += sum;                                                                                          \
            for (int64_t j = 0; single_x && j < n_y; j++) {                                                            \
                double length = gap[j], square = squared ? length : length * length;                                   \
                if (!(length > 0.0 && square < soft * (of_x[i] + of_y[j]))) continue;                                  \
                double weight = given[j * g_column] * (squared ? 2.0 : 1.0 / length);                                  \
                for (int64_t k = 0; k < d; k++) {                                                                      \
                    double pull = weight * ((double)x[i * d + k] - y[j * d + k]);                                      \
                    single_x[i * d + k] += pull;                                                                       \
                    single_y[j * d + k] -= pull;                                                                       \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
PULLS(geomdml_pulls, double)
PULLS(geomdml_pulls_single, float)

/* The gradient by n vectors: the sum of the weights times the vector, less the weighted vectors of the other side; all of
   them from `centre` on, beside which they may be short. */
#define PULLED(NAME, REAL)                                                                                             \
    FOR_EACH_CPU void NAME(const float *x, int64_t n, int64_t d, const REAL *turn, double scale, const double *centre, \
                           const double *sums, const double *single, float *out) {                                     \
        for (int64_t i = 0; i < n; i++)                                                                                \
            _Pragma("omp simd") for (int64_t k = 0; k < d; k++) {                                                      \
                int64_t at = i * d + k;                                                                                \
                out[at] = (float)(sums[i] * (x[at] - centre[k]) - scale * turn[at] + (single ? single[at] : 0.0));     \
            }                                                                                                          \
    }
PULLED(geomdml_pulled, double)
PULLED(geomdml_pulled_single, float)
