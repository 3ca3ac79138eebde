# Elements a second on one thread, by format and rung of the kernels.
stats data skip 1 using 2 nooutput name "rows"
height = 140 + 30 * rows_records
load style
set yrange [rows_records - 0.4 : -0.6]
set logscale x
set grid noytics xtics
set ytics scale 0
set xlabel "million elements a second, one thread (logarithmic)"
set lmargin 36
set key outside top center horizontal nobox
plot data skip 1 using 2:0:yticlabel(1) with points linetype 8 pointtype 6 title "plain C", \
     data skip 1 using 3:0 with points linetype 3 pointtype 9 pointsize 1.1 title "AVX2", \
     data skip 1 using 4:0 with points linetype 5 pointtype 7 pointsize 1.1 title "AVX-512"
