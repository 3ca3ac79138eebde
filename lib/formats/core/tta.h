/* Element rounding of the test-time adaptation write-up (A). */
#ifndef FP4LAB_FORMATS_TTA_H
#define FP4LAB_FORMATS_TTA_H

#include "lib/formats/core/elements.h"
#include "lib/formats/core/format.h"

/* Scaled magnitude a → grid value. n = u − 0.5, or 0 to the nearest: a large u rounds up, unlike elsewhere, and u = 0 can round
 * an odd grid point down. From 7 on every u gives 6. */
static inline float fp4_tta_round(float a, float n) {
    a = fp4_min(a, 7.0f);
    float q = a < 2.0f   ? fp4_rint(2.0f * a + n) / 2.0f
              : a < 4.0f ? fp4_rint(a + n)
                         : 2.0f * fp4_rint(a / 2.0f + n);
    return fp4_min(fp4_abs(q), 6.0f); /* rint of a small negative number is −0 */
}
static inline uint8_t fp4_tta_code(float x, float a, float n) {
    return (uint8_t)(fp4_e2m1_magnitude_code(fp4_tta_round(a, n)) | (x < 0.0f ? 8 : 0));
}

#endif
