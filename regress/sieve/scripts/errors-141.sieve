if true;
keep;
