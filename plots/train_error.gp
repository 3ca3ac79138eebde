# Mean squared difference between the weights and their quantized values, over the quantized layers.
stats data using 1 nooutput name "d"
n = d_blocks
array series[n]
do for [i = 1 : n] {
    stats data index i - 1 skip 1 using 1 nooutput name "s"
    series[i] = s_max
}
height = 600
load style
stats data using 4 nooutput name "low"
stats data using 5 nooutput name "high"
wide = low_min > 0 && high_max / low_min > 20
if (wide) { set logscale y } else { set yrange [0 : high_max * 1.1] }
set format y "%.1e"
set xlabel "update"
set ylabel "quantization error (mean squared difference)" offset -1, 0
set tmargin at screen 1 - 125.0 / height
set lmargin 13
set key at screen 0.53, screen 1 - 8.0 / height top center horizontal maxrows 4
set style fill transparent solid 0.13 noborder
plot for [i = 1 : n] data index i - 1 skip 1 using 2:4:5 with filledcurves linetype series[i] notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:3 with linespoints linewidth 1.8 pointsize 0.7 linetype series[i] title columnheader(1)
