// The colors of attnviz/charts/palettes.py, which writes this file: as_script().

export const PALETTES = {
  "light": {
    "sequential": [
      "#f4f7fa",
      "#cfe3ee",
      "#93c6dd",
      "#4a9fc4",
      "#1b6fa4",
      "#0f4277",
      "#0b1f46"
    ],
    "diverging": [
      "#0f4c8a",
      "#4f8cc4",
      "#b3d0e8",
      "#f5f5f3",
      "#f6cba0",
      "#d98032",
      "#8a3d06"
    ],
    "categorical": [
      "#0072b2",
      "#d55e00",
      "#009e73",
      "#cc79a7",
      "#e69f00",
      "#56b4e9",
      "#5b6673"
    ],
    "selected": "#d6006c",
    "page": {
      "background": "#ffffff",
      "secondary-background": "#f3f5f7",
      "text": "#1c2530",
      "border": "#d8dee5",
      "primary": "#0b6a86"
    }
  },
  "dark": {
    "sequential": [
      "#151b26",
      "#173a5e",
      "#1b5f8c",
      "#2f8bad",
      "#66b8bd",
      "#b0dcc0",
      "#fbf6c6"
    ],
    "diverging": [
      "#9accff",
      "#4a92d6",
      "#1f4c7a",
      "#1d2129",
      "#74430f",
      "#cf7f27",
      "#ffc98a"
    ],
    "categorical": [
      "#56b4e9",
      "#d9742e",
      "#48d4aa",
      "#f0a8d0",
      "#e69f00",
      "#f0e442",
      "#7b8692"
    ],
    "selected": "#ff5ca8",
    "page": {
      "background": "#10151b",
      "secondary-background": "#1a222b",
      "text": "#e4e9ef",
      "border": "#2f3a46",
      "primary": "#2291b3"
    }
  }
};
