require ["regex","variables"];
set "a" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
set "b" "b0b1b2b3b4b5b6b7b8b9b10b11b12b13b14b15b16b17b18b19${a}${a}${a}";
if string :regex "${b}" "^[b0-9]*(a+)+b0$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b1$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b2$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b3$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b4$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b5$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b6$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b7$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b8$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b9$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b10$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b11$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b12$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b13$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b14$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b15$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b16$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b17$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b18$" { keep; }
if string :regex "${b}" "^[b0-9]*(a+)+b19$" { keep; }
