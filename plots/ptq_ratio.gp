# Perplexity over that of the unquantized model, by method, with intervals that contain the sampling of documents and the noise between replicates.
stats data skip 1 using 2 nooutput name "rows"
stats data skip 1 using 4 nooutput name "high"
height = 120 + 36 * rows_records
load style
set yrange [rows_records - 0.4 : -0.6]
set logscale x
top = exists("high_max") && high_max > rows_max ? high_max : rows_max
set xrange [0.97 : (top < 1.3 ? 1.3 : top * 1.05)]
set xtics add (1, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000)
set grid noytics xtics
set ytics scale 0
set xlabel "perplexity / perplexity of the unquantized model (logarithmic)"
set lmargin 34
set key off
set arrow 1 from first 1, graph 0 to first 1, graph 1 nohead linecolor rgb "#555555" dashtype 2
plot data skip 1 using 2:0:3:4:5:yticlabel(1) with xerrorbars linecolor variable pointsize 0.01 linewidth 1.6, \
     data skip 1 using ($6 == 0 ? $2 : NaN):0:5 with points pointtype 7 pointsize 1 linecolor variable, \
     data skip 1 using ($6 == 1 ? $2 : NaN):0:5 with points pointtype 6 pointsize 1 linecolor variable
