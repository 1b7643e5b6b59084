require ["regex","variables"];
set "a" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
set "b" "${a}${a}${a}${a}";
if string :regex "${b}" "^(a+)+b0$" { keep; }
if string :regex "${b}" "^(a+)+b1$" { keep; }
if string :regex "${b}" "^(a+)+b2$" { keep; }
if string :regex "${b}" "^(a+)+b3$" { keep; }
if string :regex "${b}" "^(a+)+b4$" { keep; }
if string :regex "${b}" "^(a+)+b5$" { keep; }
if string :regex "${b}" "^(a+)+b6$" { keep; }
if string :regex "${b}" "^(a+)+b7$" { keep; }
if string :regex "${b}" "^(a+)+b8$" { keep; }
if string :regex "${b}" "^(a+)+b9$" { keep; }
if string :regex "${b}" "^(a+)+b10$" { keep; }
if string :regex "${b}" "^(a+)+b11$" { keep; }
if string :regex "${b}" "^(a+)+b12$" { keep; }
if string :regex "${b}" "^(a+)+b13$" { keep; }
if string :regex "${b}" "^(a+)+b14$" { keep; }
if string :regex "${b}" "^(a+)+b15$" { keep; }
if string :regex "${b}" "^(a+)+b16$" { keep; }
if string :regex "${b}" "^(a+)+b17$" { keep; }
if string :regex "${b}" "^(a+)+b18$" { keep; }
if string :regex "${b}" "^(a+)+b19$" { keep; }
