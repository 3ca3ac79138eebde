# Each task's success under four arms, joined from the least to the greatest; the mean over tasks with its interval at the foot.
stats data skip 1 using 2 nooutput name "rows"
width = 960
height = 150 + 30 * rows_records + 80
load style
set multiplot
set yrange [rows_records - 0.4 : -0.8]
set xrange [-2 : 102]
set grid noytics xtics
set ytics scale 0
set arrow 1 from graph 0, first (rows_records - 1.5) to graph 1, first (rows_records - 1.5) nohead linecolor rgb "#888888" dashtype 2
set xlabel "probability (%)"
min2(a, b) = (a != a) ? b : (b != b) ? a : (a < b ? a : b)
max2(a, b) = (a != a) ? b : (b != b) ? a : (a > b ? a : b)
low(c) = min2(min2(column(c), column(c + 6)), min2(column(c + 12), column(c + 18)))
high(c) = max2(max2(column(c), column(c + 6)), max2(column(c + 12), column(c + 18)))
set title "whole answer"
set lmargin at screen 0.19
set rmargin at screen 0.58
set tmargin at screen 1 - 116.0 / height
set bmargin at screen 84.0 / height
set key off
# The last row alone has intervals.
plot data skip 1 using (low(2)):0:(high(2) - low(2)):(0):yticlabel(1) with vectors nohead linecolor rgb "#bbbbbb" linewidth 2 notitle, \
     data skip 1 using 2:($0 - 0.21):3:4 with xerrorbars linetype 1 pointsize 0.01 notitle, \
     data skip 1 using 20:($0 - 0.07):21:22 with xerrorbars linetype 9 pointsize 0.01 notitle, \
     data skip 1 using 8:($0 + 0.07):9:10 with xerrorbars linetype 2 pointsize 0.01 notitle, \
     data skip 1 using 14:($0 + 0.21):15:16 with xerrorbars linetype 6 pointsize 0.01 notitle, \
     data skip 1 using 2:($0 - 0.21) with points linetype 1 notitle, \
     data skip 1 using 20:($0 - 0.07) with points linetype 9 notitle, \
     data skip 1 using 8:($0 + 0.07) with points linetype 2 notitle, \
     data skip 1 using 14:($0 + 0.21) with points linetype 6 notitle
set title "published substring rule"
set lmargin at screen 0.6
set rmargin at screen 0.985
set format y ""
plot data skip 1 using (low(5)):0:(high(5) - low(5)):(0) with vectors nohead linecolor rgb "#bbbbbb" linewidth 2 notitle, \
     data skip 1 using 5:($0 - 0.21):6:7 with xerrorbars linetype 1 pointsize 0.01 notitle, \
     data skip 1 using 23:($0 - 0.07):24:25 with xerrorbars linetype 9 pointsize 0.01 notitle, \
     data skip 1 using 11:($0 + 0.07):12:13 with xerrorbars linetype 2 pointsize 0.01 notitle, \
     data skip 1 using 17:($0 + 0.21):18:19 with xerrorbars linetype 6 pointsize 0.01 notitle, \
     data skip 1 using 5:($0 - 0.21) with points linetype 1 notitle, \
     data skip 1 using 23:($0 - 0.07) with points linetype 9 notitle, \
     data skip 1 using 11:($0 + 0.07) with points linetype 2 notitle, \
     data skip 1 using 17:($0 + 0.21) with points linetype 6 notitle
# The key has a field of its own, as wide as the figure.
unset title
unset arrow 1
unset border
unset tics
unset xlabel
set lmargin at screen 0.02
set rmargin at screen 0.98
set key at screen 0.5, screen 1 - 8.0 / height top center horizontal maxrows 2 nobox samplen 0.5
plot NaN with points linetype 1 title "base", NaN with points linetype 9 title "base at TTA's entropy", \
     NaN with points linetype 2 title "TTA", NaN with points linetype 6 title "TTA-FP4 (NVFP4)"
unset multiplot
