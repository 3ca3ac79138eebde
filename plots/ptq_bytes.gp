# Measured bytes of the packed linear weights against the loss in perplexity.
stats data skip 1 using 2 nooutput name "size"
stats data skip 1 using 3 nooutput name "ratio"
stats data skip 1 using 4 nooutput name "low"
stats data skip 1 using 5 nooutput name "high"
stats data skip 1 using 8 nooutput name "label"
height = 600
load style
set logscale y
top = high_records > 0 && high_max > ratio_max ? high_max : ratio_max
top = label_max > top ? label_max : top
least = low_records > 0 && low_min < ratio_min ? low_min : ratio_min
set yrange [ratio_low(least) : ratio_high(top)]
if (top < 1.3) { set ytics (0.9, 0.95, 0.98, 1, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3) } else { set ytics (0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000) }
span = size_max - size_min > 0 ? size_max - size_min : 0.1 * size_max
set xrange [size_min - 0.12 * span : size_max + 0.75 * span]
set xlabel "packed linear weights, scales included, measured (MB)"
set ylabel "perplexity / perplexity of the unquantized model (logarithmic)"
set key off
plot data skip 1 using 2:3:(0.03 * span):($8 - $3) with vectors nohead linecolor rgb "#bbbbbb" linewidth 0.8, \
     data skip 1 using 2:3:4:5:6 with yerrorbars linecolor variable pointsize 0.01 linewidth 1.4, \
     data skip 1 using 2:($7 == 0 ? $3 : NaN):6 with points pointtype 7 linecolor variable, \
     data skip 1 using 2:($7 == 1 ? $3 : NaN):6 with points pointtype 6 linecolor variable, \
     data skip 1 using ($2 + 0.03 * span):8:1 with labels left offset 0.4, 0 font ",12"
