# Perplexity over that of the unquantized model, by method, with intervals that contain the sampling of documents and the noise between replicates.
stats data skip 1 using 2 nooutput name "rows"
stats data skip 1 using 3 nooutput name "low"
stats data skip 1 using 4 nooutput name "high"
height = 120 + 36 * rows_records
load style
set yrange [rows_records - 0.4 : -0.6]
set logscale x
top = high_records > 0 && high_max > rows_max ? high_max : rows_max
least = low_records > 0 && low_min < rows_min ? low_min : rows_min
set xrange [ratio_low(least) : ratio_high(top)]
# Ticks that keep apart: the wider the range, the coarser.
if (top < 1.3) { set xtics (0.9, 0.95, 0.98, 1, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3) } \
else { if (top < 3) { set xtics (0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.5, 2, 3) } else { set xtics (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000) } }
set grid noytics xtics
set ytics scale 0
set xlabel "perplexity / perplexity of the unquantized model (logarithmic)"
set lmargin 34
set key off
set arrow 1 from first 1, graph 0 to first 1, graph 1 nohead linecolor rgb "#555555" dashtype 2
plot data skip 1 using 2:0:3:4:5:yticlabel(1) with xerrorbars linecolor variable pointsize 0.01 linewidth 1.6, \
     data skip 1 using ($6 == 0 ? $2 : NaN):0:5 with points pointtype 7 pointsize 1 linecolor variable, \
     data skip 1 using ($6 == 1 ? $2 : NaN):0:5 with points pointtype 6 pointsize 1 linecolor variable
