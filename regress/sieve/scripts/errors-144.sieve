require ["editheader", "encoded-character"];
addheader "X-A" "Woah${hex:00}!";
