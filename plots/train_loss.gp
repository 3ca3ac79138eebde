# Evaluation loss (solid, band from the least to the greatest seed) and training loss (thin, dotted) against the step; lines of reference in grey.
stats data using 1 nooutput name "d"
n = d_blocks
array series[n]
do for [i = 1 : n] {
    stats data index i - 1 skip 1 using 1 nooutput name "s"
    series[i] = s_max
}
evaluated(k) = k > 0 && k < 100
trained(k) = k > 100 && k < 200
untouched(k) = k > 200
dash(k) = k == -1 ? 2 : k == -2 ? 4 : 5
line(k) = abs(int(k)) % 100
height = 700
load style
set xlabel "update"
set ylabel "loss (nats a token)"
set tmargin at screen 1 - 160.0 / height
set key at screen 0.53, screen 1 - 8.0 / height top center horizontal maxrows 5
set style fill transparent solid 0.13 noborder
plot for [i = 1 : n] data index i - 1 skip 1 using 2:(evaluated(series[i]) ? $4 : NaN):5 with filledcurves linetype line(series[i]) notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(trained(series[i]) ? $3 : NaN) with lines linewidth 0.8 dashtype 3 linetype line(series[i]) notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(untouched(series[i]) ? $3 : NaN) with lines linewidth 1.6 dashtype 2 linetype line(series[i]) notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(series[i] < 0 ? $3 : NaN) with lines linewidth 1.6 linecolor rgb "#666666" dashtype dash(series[i]) title (series[i] < 0 ? columnheader(1) : ""), \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(evaluated(series[i]) ? $3 : NaN) with linespoints linewidth 1.8 pointsize 0.7 linetype line(series[i]) title (evaluated(series[i]) ? columnheader(1) : "")
