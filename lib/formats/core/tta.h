/* Element rounding of the test-time adaptation write-up (A). */
#ifndef FP4LAB_FORMATS_TTA_H
#define FP4LAB_FORMATS_TTA_H

#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"

/* Code of x, whose scaled magnitude is a. n = u − 0.5, or 0 to the nearest: a large u rounds up, unlike elsewhere, and u = 0 can
 * round an odd grid point down. Sign bit (x < 0); at most 6. */
static inline uint8_t fp4_tta_code(float x, float a, float n) {
    a = fp4_min(a, 8.0f); /* above the grid; keeps the sums finite */
    float q = a < 2.0f   ? fp4_rint(2.0f * a + n) / 2.0f
              : a < 4.0f ? fp4_rint(a + n)
                         : 2.0f * fp4_rint(a / 2.0f + n);
    q = fp4_min(fp4_abs(q), 6.0f); /* rint of a small negative number is −0 */
    return (uint8_t)(fp4_e2m1_magnitude_code(q) | (x < 0.0f ? 8 : 0));
}

#endif
