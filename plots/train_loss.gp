# Evaluation loss (solid, band from the least to the greatest seed) and training loss (thin, dotted) against the step; lines of reference in grey.
stats data using 1 nooutput name "d"
n = d_blocks
array series[n]
array named[n]
do for [i = 1 : n] {
    stats data index i - 1 skip 1 using 1 nooutput name "s"
    series[i] = s_max
    named[i] = strlen(system(sprintf("awk -v want=%d 'BEGIN { RS = \"\"; FS = \"\\n\" } NR == want { print $1 ~ /^#/ ? $2 : $1 }' '%s' | tr -d '\"'", i, data)))
}
height = 700
load style
set xlabel "update"
set ylabel "loss (nats a token)"
set tmargin at screen 1 - 160.0 / height
set key at screen 0.53, screen 1 - 8.0 / height top center horizontal maxrows 5
set style fill transparent solid 0.13 noborder
reference(k) = k == -1 ? 2 : k == -2 ? 4 : 5
plot for [i = 1 : n] data index i - 1 skip 1 using 2:(series[i] > 0 && named[i] > 0 ? $4 : NaN):5 with filledcurves linetype abs(series[i]) notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(series[i] > 0 && named[i] == 0 ? $3 : NaN) with lines linewidth 0.8 dashtype 3 linetype abs(series[i]) notitle, \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(series[i] < 0 ? $3 : NaN) with lines linewidth 1.6 linecolor rgb "#666666" dashtype reference(series[i]) title (series[i] < 0 ? columnheader(1) : ""), \
     for [i = 1 : n] data index i - 1 skip 1 using 2:(series[i] > 0 && named[i] > 0 ? $3 : NaN) with linespoints linewidth 1.8 pointsize 0.7 linetype abs(series[i]) title (series[i] > 0 && named[i] > 0 ? columnheader(1) : "")
