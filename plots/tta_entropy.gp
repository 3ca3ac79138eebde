# Entropy of the next token before each step of adaptation: median over tasks, band from quartile to quartile.
stats data using 1 nooutput name "d"
n = d_blocks
array series[n]
do for [i = 1 : n] {
    stats data index i - 1 skip 1 using 1 nooutput name "s"
    series[i] = s_max
}
height = 600
load style
set xlabel "adaptation step"
set ylabel "entropy of the next token (nats)"
set yrange [0 : *]
stats data using 2 nooutput name "x"
set xrange [-0.3 : x_max + 0.3]
set xtics 0, 1
set tmargin at screen 1 - 115.0 / height
set key at screen 0.53, screen 1 - 8.0 / height top center horizontal maxrows 3
set style fill transparent solid 0.13 noborder
plot for [i = 1 : n] data index i - 1 skip 1 using 2:4:5 with filledcurves linetype series[i] notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:3 with linespoints linewidth 1.8 linetype series[i] title columnheader(1)
