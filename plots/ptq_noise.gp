# Replicates of one arm: each is the same computation after a perturbation of one part in 2^23 of the embedding.
stats data skip 1 using 2 nooutput name "rows"
stats data skip 1 using 3 nooutput name "deviation"
height = 130 + 36 * (rows_max + 1)
load style
set yrange [rows_max + 0.6 : -0.6]
reach = 1.25 * (deviation_max > -deviation_min ? deviation_max : -deviation_min)
reach = reach > 0 ? reach : 1
set xrange [-reach : reach]
set grid noytics xtics
set ytics scale 0
set xlabel "deviation of a replicate's perplexity from its arm's mean (%)"
set lmargin 34
set key outside top center horizontal nobox
set arrow 1 from first 0, graph 0 to first 0, graph 1 nohead linecolor rgb "#555555" dashtype 2
plot data skip 1 using (0):2:4:yticlabel(1) with xerrorbars linecolor rgb "#999999" pointsize 0.01 linewidth 1.6 title "one standard deviation", \
     data skip 1 using 3:2:5 with points pointtype 7 pointsize 0.9 linecolor variable notitle, \
     NaN with points linetype 1 title "a replicate"
