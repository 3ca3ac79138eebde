# Success of each arm: the published rule with its pooled and its clustered interval, and the whole answer.
stats data skip 1 using 2 nooutput name "rows"
height = 150 + 46 * rows_records
load style
set yrange [rows_records - 0.4 : -0.8]
set xrange [0 : 100]
set xlabel "success (% of samples)"
set grid noytics xtics
set ytics scale 0
set key outside top center horizontal maxrows 2
set lmargin 34
plot data skip 1 using 2:($0 - 0.14):5:6:yticlabel(1) with xerrorbars linetype 5 pointtype 7 pointsize 0.9 linewidth 1.6 \
         title "substring rule, tasks as clusters", \
     data skip 1 using 2:($0 - 0.14):3:4 with xerrorbars linetype 3 pointtype 0 linewidth 5 title "the same draws, pooled Wilson interval", \
     data skip 1 using 7:($0 + 0.16):8:9 with xerrorbars linetype 2 pointtype 5 pointsize 0.8 linewidth 1.6 title "whole answer, tasks as clusters"
